"""What the node and its pods use: the Summary document, and what ``/metrics/resource`` is made of.

Containers are told by the runtime, pods and the node by the kernel. Counters are read when somebody
asks; files on disk are counted once a minute at most, because counting walks directories.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kybern.api.errors import Obj
from kybern.api.volumes import claim_names
from kybern.component.clock import rfc3339
from kybern.kubelet.cgroups.kernel import CgroupUsage
from kybern.kubelet.cri import labels
from kybern.kubelet.eviction.ranking import Disk, PodUsage
from kybern.kubelet.eviction.signals import Disks, find_disks, observe
from kybern.kubelet.eviction.thresholds import (
    IMAGE_FS,
    IMAGE_FS_INODES,
    MEMORY,
    NODE_FS,
    NODE_FS_INODES,
    PIDS,
    Observation,
    Observations,
)
from kybern.kubelet.eviction.usage import measure
from kybern.kubelet.node.machine import cpu_nanoseconds, interfaces, memory_info
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.pressure import of_machine
from kybern.kubelet.status.containers import container_status
from kybern.kubelet.volumes.use import Space

FILES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ContainerSample:
    """One running container: whose it is, since when it runs, what the runtime counted."""

    pod: Obj
    name: str
    started_at: str
    counted: Any


@dataclass(slots=True)
class Sample:
    """Everything at one moment; ``time`` is in seconds since the epoch."""

    time: float
    node_cpu: int
    node: Observations
    memory: dict[str, int]
    pods: dict[str, Obj] = field(default_factory=dict)
    usage: dict[str, CgroupUsage] = field(default_factory=dict)
    node_pressure: dict[str, Obj] = field(default_factory=dict)
    # By a pod's UID and a container's id, which is empty for the pod itself.
    pressure: dict[str, dict[str, dict[str, Obj]]] = field(default_factory=dict)
    containers: list[ContainerSample] = field(default_factory=list)


class Stats:
    """Reads usage on demand."""

    def __init__(self, parts: Parts, workers: PodWorkers) -> None:
        self._parts = parts
        self._workers = workers
        self._disks: Disks | None = None
        self._files: dict[str, PodUsage] = {}
        self._claims: dict[str, dict[str, Space]] = {}
        self._files_read = -FILES_SECONDS
        # CPU counters of the last look, for the rate since: (seconds, nanoseconds) by UID.
        self._before: dict[str, tuple[float, int]] = {}

    async def sample(self) -> Sample:
        """The counters as they are now."""
        counted = await self._parts.runtime.container_stats()
        pods = {
            spec.uid(pod): pod
            for pod in self._workers.pods()
            if (worker := self._workers.get(spec.uid(pod))) is not None and worker.active
        }
        if self._disks is None:
            self._disks = await find_disks(self._parts)
        taken = await asyncio.to_thread(self._node_sample, self._disks, pods)
        for each in counted:
            marks = each.attributes.labels
            pod = pods.get(marks.get(labels.POD_UID, ""))
            if pod is not None:
                name = marks.get(labels.CONTAINER_NAME, "")
                taken.containers.append(ContainerSample(pod, name, self._began(pod, name), each))
        return taken

    def _began(self, pod: Obj, name: str) -> str:
        """When a container was started, as the pod's status tells it; empty if it does not."""
        running = container_status(self._parts.status.get(pod), name).get("state") or {}
        return (running.get("running") or {}).get("startedAt") or ""

    def _node_sample(self, disks: Disks, pods: dict[str, Obj]) -> Sample:
        taken = Sample(
            time=self._parts.clock.time(),
            node_cpu=cpu_nanoseconds(),
            node=observe(disks, self._parts.cgroups),
            memory=memory_info(),
            pods=pods,
            node_pressure=of_machine(),
        )
        for uid, pod in pods.items():
            usage = self._parts.cgroups.usage(pod)
            if usage is not None:
                taken.usage[uid] = usage
            taken.pressure[uid] = self._parts.cgroups.pressure(pod)
        return taken

    async def summary(self) -> Obj:
        """The Summary document: the node and every pod with its containers."""
        taken = await self.sample()
        await self._count_files(list(taken.pods.values()))
        summary = {"node": self._node(taken), "pods": [self._pod(uid, taken) for uid in taken.pods]}
        self._before = {uid: (taken.time, usage.cpu) for uid, usage in taken.usage.items()}
        self._before[""] = (taken.time, taken.node_cpu)
        return summary

    async def _count_files(self, pods: Sequence[Obj]) -> None:
        now = self._parts.clock.monotonic()
        if now - self._files_read >= FILES_SECONDS:
            self._files_read = now
            self._files = dict(await measure(pods, self._parts))
            volumes = self._parts.volumes
            found = await asyncio.gather(*(volumes.space(pod) for pod in pods))
            self._claims = {spec.uid(pod): held for pod, held in zip(pods, found, strict=True)}

    def _node(self, taken: Sample) -> Obj:
        now = rfc3339(taken.time)
        memory = taken.node[MEMORY]
        disks = _disk(taken.node[NODE_FS], taken.node[NODE_FS_INODES], now)
        images = _disk(taken.node[IMAGE_FS], taken.node[IMAGE_FS_INODES], now)
        free = taken.memory.get("MemFree", 0)
        pids = taken.node[PIDS]
        found = interfaces(Path("/proc/net/dev"))
        first = next((each for each in found if each["name"] != "lo"), {})
        shown = {
            "nodeName": self._parts.facts.name,
            "cpu": self._cpu("", taken.node_cpu, taken.time),
            "memory": {
                "time": now,
                "availableBytes": memory.available,
                "usageBytes": memory.capacity - free,
                "workingSetBytes": memory.capacity - memory.available,
                "rssBytes": taken.memory.get("AnonPages", 0),
            },
            "network": {"time": now, **first, "interfaces": found},
            "fs": disks,
            "runtime": {"imageFs": images},
            "rlimit": {
                "time": now,
                "maxpid": pids.capacity,
                "curproc": pids.capacity - pids.available,
            },
        }
        return _with_pressure(shown, taken.node_pressure, now)

    def _pod(self, uid: str, taken: Sample) -> Obj:
        pod, now = taken.pods[uid], rfc3339(taken.time)
        meta, usage = pod["metadata"], taken.usage.get(uid)
        files = self._files.get(uid, PodUsage())
        disk, inodes = taken.node[NODE_FS], taken.node[NODE_FS_INODES]
        pressure = taken.pressure.get(uid, {})
        shown: Obj = {
            "podRef": {"name": meta["name"], "namespace": meta["namespace"], "uid": uid},
            "startTime": self._parts.status.get(pod).get("startTime"),
            "containers": [
                _with_pressure(
                    self._container(each, files, disk, inodes),
                    pressure.get(each.counted.attributes.id, {}),
                    now,
                )
                for each in taken.containers
                if spec.uid(each.pod) == uid
            ],
            "volume": [
                {"name": name, **_disk(disk, inodes, now, held)}
                for name, held in files.volumes.items()
            ]
            + [_claim(pod, name, held, now) for name, held in self._claims.get(uid, {}).items()],
            "ephemeral-storage": _disk(disk, inodes, now, files.disk(NODE_FS, False)),
        }
        if usage is not None:
            shown["cpu"] = self._cpu(uid, usage.cpu, taken.time)
            shown["memory"] = {
                "time": now,
                "usageBytes": usage.memory,
                "workingSetBytes": usage.working_set,
                "rssBytes": usage.rss,
            }
            shown["process_stats"] = {"process_count": usage.processes}
            _with_pressure(shown, pressure.get("", {}), now)
        return shown

    def _cpu(self, key: str, nanoseconds: int, now: float) -> Obj:
        """A CPU counter, and its rate since the last look."""
        shown: Obj = {"time": rfc3339(now), "usageCoreNanoSeconds": nanoseconds}
        before = self._before.get(key)
        if before is not None and now > before[0]:
            shown["usageNanoCores"] = int((nanoseconds - before[1]) / (now - before[0]))
        return shown

    def _container(
        self, each: ContainerSample, files: PodUsage, disk: Observation, inodes: Observation
    ) -> Obj:
        counted = each.counted
        now = rfc3339(counted.memory.timestamp / 1e9)
        layer = counted.writable_layer
        held = Disk(layer.used_bytes.value, layer.inodes_used.value)
        logs = files.containers[each.name].logs if each.name in files.containers else Disk()
        return {
            "name": each.name,
            "startTime": each.started_at or None,
            "cpu": {
                "time": rfc3339(counted.cpu.timestamp / 1e9),
                "usageNanoCores": counted.cpu.usage_nano_cores.value,
                "usageCoreNanoSeconds": counted.cpu.usage_core_nano_seconds.value,
            },
            "memory": {
                "time": now,
                "workingSetBytes": counted.memory.working_set_bytes.value,
                "usageBytes": counted.memory.usage_bytes.value,
                "rssBytes": counted.memory.rss_bytes.value,
            },
            "rootfs": _disk(disk, inodes, now, held),
            "logs": _disk(disk, inodes, now, logs),
        }


def _with_pressure(shown: Obj, pressure: dict[str, Obj], now: str) -> Obj:
    """What is shown of somebody's CPU, memory and disks, with how long they were waited for."""
    for resource, stalled in pressure.items():
        shown.setdefault(resource, {"time": now})["psi"] = stalled
    return shown


def _claim(pod: Obj, name: str, held: Space, now: str) -> Obj:
    """A volume that a claim has brought."""
    reference = {"name": claim_names(pod)[name], "namespace": pod["metadata"]["namespace"]}
    return {
        "name": name,
        "pvcRef": reference,
        "time": now,
        "availableBytes": held.available,
        "capacityBytes": held.capacity,
        "usedBytes": held.used,
        "inodesFree": held.inodes_free,
        "inodes": held.inodes,
        "inodesUsed": held.inodes_used,
    }


def _disk(space: Observation, inodes: Observation, now: str, held: Disk | None = None) -> Obj:
    """A file system, and how much of it is held; all that is not free, where nobody says."""
    own = held or Disk(space.capacity - space.available, inodes.capacity - inodes.available)
    return {
        "time": now,
        "availableBytes": space.available,
        "capacityBytes": space.capacity,
        "usedBytes": own.used,
        "inodesFree": inodes.available,
        "inodes": inodes.capacity,
        "inodesUsed": own.inodes,
    }
