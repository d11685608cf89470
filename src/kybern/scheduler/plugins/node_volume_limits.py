"""NodeVolumeLimits: how many volumes of each CSI driver a node can attach (its CSINode says).

Volumes of pods on the node count, and so do those that VolumeAttachments show there without a pod:
a volume that is being detached still takes its place.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from kybern.api.volumes import storage_class
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.migrated_volumes import attached_as, driver_of
from kybern.scheduler.plugin import Basis, Filter, Plugin
from kybern.scheduler.plugins.claim_hints import claim_is_its
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import attached_disks, claim_names

Obj = dict[str, Any]
Volume = tuple[str, str]


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"

    def filter(self, shape: PodShape) -> Filter | None:
        wanted = csi_volumes(self.cluster, shape.pod, claim_names(shape.pod))
        return VolumeLimitsFilter(self.cluster, wanted) if wanted else None

    def registrations(self) -> Sequence[Registration]:
        claims = ClusterEvent(EventResource.PERSISTENT_VOLUME_CLAIM, Action.ADD)
        detached = ClusterEvent(EventResource.VOLUME_ATTACHMENT, Action.DELETE)
        return (
            Registration(ClusterEvent(EventResource.CSI_NODE, Action.ADD)),
            Registration(ClusterEvent(EventResource.CSI_NODE, Action.UPDATE), _limits_changed),
            Registration(ClusterEvent(EventResource.POD, Action.DELETE), _pod_deleted),
            Registration(claims, claim_is_its),
            Registration(detached, _detached),
        )


class VolumeLimitsFilter(Filter):
    """``wanted`` are the volumes (driver, handle) that the pod brings."""

    basis = Basis.USAGE
    is_costly = True
    reason = "node(s) exceed max volume count"
    unresolvable = False

    def __init__(self, cluster: ClusterColumns, wanted: dict[Volume, None]) -> None:
        self._cluster = cluster
        self._wanted = wanted

    def fits(self, row: int) -> bool:
        limits = self._limits(row)
        if not any(driver in limits for driver, _ in self._wanted):
            return True
        used: dict[Volume, None] = {}
        for placed in self._cluster.storage_pods.get(row, {}).values():
            used.update(csi_volumes(self._cluster, placed.obj, placed.claims))
        brought = [volume[0] for volume in self._wanted if volume not in used]
        # What is attached for no pod that is there is not the pod's to use either.
        held = [driver for driver, _ in {**used, **self._attached(row)}]
        return all(
            driver not in limits or held.count(driver) + brought.count(driver) <= limits[driver]
            for driver in brought
        )

    def _attached(self, row: int) -> dict[Volume, None]:
        """Volumes that the node's VolumeAttachments name."""
        storage = self._cluster.storage
        found: dict[Volume, None] = {}
        for one in storage.attachments.get(self._cluster.nodes.names[row], {}).values():
            attacher = one["spec"].get("attacher")
            name = (one["spec"].get("source") or {}).get("persistentVolumeName")
            volume = storage.volumes.get(name or "")
            source = _source(volume["spec"]) if volume is not None else None
            if attacher and source is not None:
                found[attacher, source[1]] = None
        return found

    def _limits(self, row: int) -> dict[str, int]:
        return _limits(self._cluster.storage.csi_nodes.get(self._cluster.nodes.names[row]))


def csi_volumes(cluster: ClusterColumns, pod: Obj, names: Iterable[str]) -> dict[Volume, None]:
    """The volumes of a pod that CSI drivers attach: its own, and those behind the claims named; a
    claim that is not bound yet counts for its provisioner."""
    storage, namespace = cluster.storage, pod["metadata"].get("namespace", "")
    found: dict[Volume, None] = {}
    for disk in attached_disks(pod):
        if (attached := attached_as(disk)) is not None:
            found[attached] = None
    for name in names:
        claim = storage.claim(namespace, name)
        if claim is None:
            continue
        volume = storage.volumes.get(claim["spec"].get("volumeName") or "")
        if volume is not None:
            if (source := _source(volume["spec"])) is not None:
                found[source] = None
        elif provisioner := storage.classes.get(storage_class(claim), {}).get("provisioner"):
            found[driver_of(provisioner), f"{namespace}/{name}"] = None
    return found


def _source(spec: Obj) -> Volume | None:
    """The driver and handle of a PersistentVolume's spec."""
    if csi := spec.get("csi"):
        return csi["driver"], csi["volumeHandle"]
    return attached_as(spec)


def _limits(csi_node: Obj | None) -> dict[str, int]:
    """How many volumes of each driver; drivers that say nothing have no limit."""
    drivers = csi_node["spec"].get("drivers") or () if csi_node is not None else ()
    counts = ((one["name"], (one.get("allocatable") or {}).get("count")) for one in drivers)
    return {name: count for name, count in counts if count is not None}


def _limits_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    before, after = _limits(old), _limits(new)
    return queue_if(any(count > before.get(driver, 0) for driver, count in after.items()))


def _detached(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    return queue_if(bool(claim_names(pod) or attached_disks(pod)))


def _pod_deleted(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """A pod with volumes that had a node, or was promised one."""
    if old is None or not (claim_names(old) or attached_disks(old)):
        return Hint.SKIP
    nominated = (old.get("status") or {}).get("nominatedNodeName")
    return queue_if(bool(old["spec"].get("nodeName") or nominated))
