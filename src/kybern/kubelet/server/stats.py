"""What pods use: ``/stats/summary`` and ``/metrics/resource``, from the runtime's own counters."""

from collections.abc import Iterator
from typing import Any

from kybern.api.errors import Obj
from kybern.component.clock import rfc3339
from kybern.kubelet.cri import labels
from kybern.kubelet.node.machine import available_memory
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods.workers import PodWorkers


class Stats:
    """Reads usage on demand; nothing is sampled in the background."""

    def __init__(self, parts: Parts, workers: PodWorkers) -> None:
        self._parts = parts
        self._workers = workers

    async def summary(self) -> Obj:
        """The Summary document: the node and every pod with its containers."""
        pods: dict[str, Obj] = {}
        for found in await self._parts.runtime.container_stats():
            marks = found.attributes.labels
            uid = marks.get(labels.POD_UID, "")
            pod = pods.setdefault(uid, _pod_reference(marks))
            pod["containers"].append(_container(found))
        for pod in pods.values():
            _add_up(pod)
        return {"node": self._node(), "pods": list(pods.values())}

    async def resource_metrics(self) -> str:
        """CPU seconds and memory of containers, in the Prometheus text format."""
        cpu = ["# TYPE container_cpu_usage_seconds_total counter"]
        memory = ["# TYPE container_memory_working_set_bytes gauge"]
        for found in await self._parts.runtime.container_stats():
            marks = found.attributes.labels
            shown = (
                f'{{container="{marks.get(labels.CONTAINER_NAME, "")}",'
                f'namespace="{marks.get(labels.POD_NAMESPACE, "")}",'
                f'pod="{marks.get(labels.POD_NAME, "")}"}}'
            )
            seconds = found.cpu.usage_core_nano_seconds.value / 1e9
            cpu.append(f"container_cpu_usage_seconds_total{shown} {seconds}")
            used = found.memory.working_set_bytes.value
            memory.append(f"container_memory_working_set_bytes{shown} {used}")
        return "\n".join((*cpu, *memory, ""))

    def _node(self) -> Obj:
        capacity, free = self._parts.facts.memory_capacity, available_memory()
        now = rfc3339(self._parts.clock.time())
        return {
            "nodeName": self._parts.facts.name,
            "memory": {
                "time": now,
                "availableBytes": free,
                "usageBytes": capacity - free,
                "workingSetBytes": capacity - free,
            },
        }


def _pod_reference(marks: Any) -> Obj:
    return {
        "podRef": {
            "name": marks.get(labels.POD_NAME, ""),
            "namespace": marks.get(labels.POD_NAMESPACE, ""),
            "uid": marks.get(labels.POD_UID, ""),
        },
        "containers": [],
    }


def _container(found: Any) -> Obj:
    return {
        "name": found.attributes.labels.get(labels.CONTAINER_NAME, ""),
        "cpu": {
            "time": rfc3339(found.cpu.timestamp / 1e9),
            "usageNanoCores": found.cpu.usage_nano_cores.value,
            "usageCoreNanoSeconds": found.cpu.usage_core_nano_seconds.value,
        },
        "memory": {
            "time": rfc3339(found.memory.timestamp / 1e9),
            "workingSetBytes": found.memory.working_set_bytes.value,
            "usageBytes": found.memory.usage_bytes.value,
            "rssBytes": found.memory.rss_bytes.value,
        },
        "rootfs": {
            "usedBytes": found.writable_layer.used_bytes.value,
            "inodesUsed": found.writable_layer.inodes_used.value,
        },
    }


def _add_up(pod: Obj) -> None:
    def together(group: str, names: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        for name in names:
            yield name, sum(container[group][name] for container in pod["containers"])

    pod["cpu"] = dict(together("cpu", ("usageNanoCores", "usageCoreNanoSeconds")))
    pod["memory"] = dict(together("memory", ("workingSetBytes", "usageBytes", "rssBytes")))
