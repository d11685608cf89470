"""A Node's status from the machine, the runtime and the configuration. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kybern.api.errors import Obj
from kybern.kubelet.config import Config
from kybern.kubelet.eviction.thresholds import MEMORY, NODE_FS, Amount, Threshold
from kybern.kubelet.huge_pages import binary, resource_name
from kybern.kubelet.node.machine import Machine

KUBELET_VERSION = "v1.36.0"
MAX_IMAGES = 50
# What newer pods may need of a kubelet, of the features that nodes declare (KEP-5328).
DECLARED_FEATURES = (
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    "RestartAllContainersOnContainerExits",
)

# Each pressure condition's reasons and texts: where it holds, and where it does not.
_PRESSURES = {
    "MemoryPressure": (
        "InsufficientMemory",
        "SufficientMemory",
        "insufficient memory available",
        "sufficient memory available",
    ),
    "DiskPressure": ("DiskPressure", "NoDiskPressure", "disk pressure", "no disk pressure"),
    "PIDPressure": (
        "InsufficientPID",
        "SufficientPID",
        "insufficient PID available",
        "sufficient PID available",
    ),
}


@dataclass(frozen=True, slots=True)
class Health:
    """What the last look at the node found; empty texts are good news.

    ``pressures`` are the pressure conditions that hold.
    """

    runtime: str = ""
    network: str = ""
    shutdown: str = ""
    pressures: Collection[str] = ()


def capacity(machine: Machine, config: Config) -> Obj:
    """All that the machine has."""
    pages = machine.huge_pages.items()
    return {
        "cpu": str(machine.cores),
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        **{resource_name(size): binary(size * count) for size, count in pages},
        "pods": str(config.max_pods),
    }


def allocatable(machine: Machine, config: Config, thresholds: Sequence[Threshold]) -> Obj:
    """The capacity without what is reserved and what hard eviction keeps free.

    Huge pages are memory that nobody can use as anything else.
    """
    reserved = config.reserved()
    kept = {each.signal: each.value for each in thresholds if each.hard}
    memory = machine.memory_bytes - reserved.get("memory", 0) // 1000
    memory -= kept.get(MEMORY, Amount()).of(machine.memory_bytes)
    memory -= sum(size * count for size, count in machine.huge_pages.items())
    disk = machine.disk_bytes - reserved.get("ephemeral-storage", 0) // 1000
    disk -= kept.get(NODE_FS, Amount()).of(machine.disk_bytes)
    milli_cpu = machine.cores * 1000 - reserved.get("cpu", 0)
    left = capacity(machine, config)
    left["cpu"] = str(milli_cpu // 1000) if milli_cpu % 1000 == 0 else f"{milli_cpu}m"
    left["memory"] = f"{max(memory, 0) // 1024}Ki"
    # Upstream shows what disk eviction leaves in plain bytes.
    left["ephemeral-storage"] = str(max(disk, 0))
    return left


def addresses(ips: Sequence[str], hostname: str) -> list[Obj]:
    """The node's addresses as others reach it."""
    found = [{"type": "InternalIP", "address": ip} for ip in ips]
    return [*found, {"type": "Hostname", "address": hostname}]


def node_info(machine: Machine, runtime_version: str) -> Obj:
    return {
        "machineID": machine.machine_id,
        "systemUUID": machine.system_uuid,
        "bootID": machine.boot_id,
        "kernelVersion": machine.kernel,
        "osImage": machine.os_image,
        "containerRuntimeVersion": runtime_version,
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": machine.architecture,
    }


def features(answer: Any) -> Obj:
    """What the runtime says that it can do, from its answer to Status."""
    handlers = [
        {
            "name": handler.name,
            "features": {
                "recursiveReadOnlyMounts": handler.features.recursive_read_only_mounts,
                "userNamespaces": handler.features.user_namespaces,
            },
        }
        for handler in answer.runtime_handlers
    ]
    told: Obj = {
        "features": {"supplementalGroupsPolicy": answer.features.supplemental_groups_policy}
    }
    return {**told, "runtimeHandlers": handlers} if handlers else told


def images(found: Sequence[Any]) -> list[Obj]:
    """The largest images, as the scheduler's image locality wants to know them."""
    listed = sorted(found, key=lambda image: image.size, reverse=True)[:MAX_IMAGES]
    return [
        {"names": [*image.repo_digests, *image.repo_tags], "sizeBytes": image.size}
        for image in listed
        if image.repo_digests or image.repo_tags
    ]


def conditions(health: Health, previous: Sequence[Obj], now: str) -> list[Obj]:
    """Pressure conditions and Ready, with upstream's reasons and messages."""
    told = (health.runtime, health.network, health.shutdown)
    problems = [text for text in told if text]
    ready = (
        ("False", "KubeletNotReady", _aggregate(problems))
        if problems
        else ("True", "KubeletReady", "kubelet is posting ready status")
    )
    wanted: Mapping[str, tuple[str, str, str]] = {
        **{kind: _pressure(kind in health.pressures, *words) for kind, words in _PRESSURES.items()},
        "Ready": ready,
    }
    old = {condition["type"]: condition for condition in previous}
    result = []
    for kind, (status, reason, message) in wanted.items():
        before = old.get(kind)
        unchanged = before is not None and before["status"] == status
        result.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": now,
                "lastTransitionTime": before["lastTransitionTime"] if unchanged and before else now,
                "reason": f"KubeletHas{reason}" if kind != "Ready" else reason,
                "message": message,
            }
        )
    return result


def _aggregate(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"


def _pressure(present: bool, bad: str, good: str, short: str, enough: str) -> tuple[str, str, str]:
    return (
        ("True", bad, f"kubelet has {short}")
        if present
        else ("False", good, f"kubelet has {enough}")
    )
