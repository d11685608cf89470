"""Which pod goes first when something runs short, and the words that it goes with. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_limits, pod_requests
from kybern.api.quantity import Quantity
from kybern.kubelet.eviction.thresholds import (
    IMAGE_FS,
    IMAGE_FS_INODES,
    NODE_FS,
    NODE_FS_INODES,
    PIDS,
    Observations,
    Threshold,
    shown,
)
from kybern.kubelet.pods import spec

REASON = "Evicted"
DISRUPTION_REASON = "TerminationByKubelet"
_NOTHING = Quantity.parse("0")


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes and inodes."""

    used: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """One container: its working set, its writable layer, its logs."""

    memory: int = 0
    layer: Disk = Disk()
    logs: Disk = Disk()


@dataclass(slots=True)
class PodUsage:
    """A pod: its working set, its processes, its containers and its local volumes by name."""

    memory: int = 0
    processes: int = 0
    containers: dict[str, ContainerUsage] = field(default_factory=dict)
    volumes: dict[str, Disk] = field(default_factory=dict)

    def disk(self, signal: str, separate_images: bool) -> Disk:
        """What the pod holds of the file system that the signal is about."""
        parts = [each.layer for each in self.containers.values()]
        rest = [each.logs for each in self.containers.values()] + list(self.volumes.values())
        if not separate_images:
            parts += rest
        elif signal in (NODE_FS, NODE_FS_INODES):
            parts = rest
        return Disk(sum(each.used for each in parts), sum(each.inodes for each in parts))


Usage = Mapping[str, PodUsage]


def ranked(
    pods: Sequence[Obj], threshold: Threshold, usage: Usage, separate_images: bool
) -> list[Obj]:
    """The pods in the order in which they are given up.

    Pods above their request go first, then those of low priority, then those that are furthest
    above it. A pod of which nothing is known goes before all.
    """
    excess: Callable[[Obj, PodUsage], tuple[int, int]]
    if threshold.resource == "memory":
        excess = _memory_excess
    elif threshold.signal == PIDS:
        excess = _process_excess
    else:

        def excess(pod: Obj, used: PodUsage) -> tuple[int, int]:
            return _disk_excess(pod, used.disk(threshold.signal, separate_images), threshold.signal)

    def order(pod: Obj) -> tuple[bool, int, int, int]:
        used = usage.get(spec.uid(pod))
        priority = pod["spec"].get("priority") or 0
        if used is None:
            return False, 0, priority, 0
        within, above = excess(pod, used)
        return True, within, priority, -above

    return sorted(pods, key=order)


def _memory_excess(pod: Obj, used: PodUsage) -> tuple[int, int]:
    requested = pod_requests(pod).get("memory", _NOTHING).value()
    return int(used.memory <= requested), used.memory - requested


def _process_excess(pod: Obj, used: PodUsage) -> tuple[int, int]:
    """Nobody requests processes, so all are alike but for their number."""
    return 0, used.processes


def _disk_excess(pod: Obj, held: Disk, signal: str) -> tuple[int, int]:
    requested = pod_requests(pod).get("ephemeral-storage", _NOTHING).value()
    if signal in (NODE_FS_INODES, IMAGE_FS_INODES):
        return int(held.inodes == 0), held.inodes - requested
    return int(held.used <= requested), held.used - requested


def message(
    pod: Obj,
    threshold: Threshold,
    met: Sequence[Threshold],
    observations: Observations,
    used: PodUsage | None,
) -> str:
    """Why the pod was evicted, for its status, its event and its condition."""
    resource = threshold.resource
    text = f"The node was low on resource: {resource}. "
    for each in met:
        if each.resource == resource and each.signal in observations:
            observed = observations[each.signal]
            bound = shown(resource, each.value.of(observed.capacity))
            left = shown(resource, observed.available)
            text += f"Threshold quantity: {bound}, available: {left}. "
            break
    if used is None or resource not in ("memory", "ephemeral-storage"):
        return text
    declared = ((pod["spec"].get("resources") or {}).get("requests") or {}).get(resource)
    if resource == "memory" and declared is not None:
        text += (
            f"Pod {pod['metadata']['name']} was using {shown(resource, used.memory)}, "
            f"request is {declared}, has larger consumption of {resource}. "
        )
    return text + "".join(_blame(pod, resource, used))


def _blame(pod: Obj, resource: str, used: PodUsage) -> list[str]:
    """A sentence for each container that holds more than it requested."""
    found = []
    for container in (*spec.containers(pod), *spec.init_containers(pod)):
        own = used.containers.get(container["name"])
        if own is None:
            continue
        held = own.memory if resource == "memory" else own.layer.used + own.logs.used
        requested = ((container.get("resources") or {}).get("requests") or {}).get(resource, "0")
        if held > Quantity.parse(requested).value():
            found.append(
                f"Container {container['name']} was using {shown(resource, held)}, "
                f"request is {requested}, has larger consumption of {resource}. "
            )
    return found


def exceeded_limit(pod: Obj, used: PodUsage, separate_images: bool) -> str:
    """The message of a pod that holds more local storage than it may; empty if it does not."""
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        held = used.volumes.get(volume["name"], Disk()).used
        if limit is not None and 0 < Quantity.parse(limit).value() < held:
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    whole = pod_limits(pod, overhead=False).get("ephemeral-storage")
    if whole is not None and used.disk(IMAGE_FS, False).used > whole.value():
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
    for container in spec.containers(pod):
        limit = ((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        own = used.containers.get(container["name"], ContainerUsage())
        held = own.logs.used + (0 if separate_images else own.layer.used)
        if limit is not None and 0 < Quantity.parse(limit).value() < held:
            return (
                f"Container {container['name']} exceeded its local ephemeral storage limit "
                f'"{limit}". '
            )
    return ""


def has_storage_limit(pod: Obj) -> bool:
    """Whether anything of the pod's local storage is limited, so that it has to be measured."""
    if "ephemeral-storage" in pod_limits(pod, overhead=False):
        return True
    volumes = pod["spec"].get("volumes") or ()
    return any((volume.get("emptyDir") or {}).get("sizeLimit") for volume in volumes)
