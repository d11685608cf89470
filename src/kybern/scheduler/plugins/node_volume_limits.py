"""NodeVolumeLimits: how many volumes of each CSI driver a node can attach (its CSINode says)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask
from kybern.scheduler.events import Action, ClusterEvent, EventResource, Registration
from kybern.scheduler.plugin import Basis, Filter, Plugin
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import claim_names, storage_class

Obj = dict[str, Any]
Volume = tuple[str, str]


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"

    def filter(self, shape: PodShape) -> Filter | None:
        names = claim_names(shape.pod)
        wanted = csi_volumes(self.cluster, shape.namespace, names) if names else {}
        return VolumeLimitsFilter(self.cluster, wanted) if wanted else None

    def registrations(self) -> Sequence[Registration]:
        return (
            Registration(ClusterEvent(EventResource.CSI_NODE, Action.ADD | Action.UPDATE)),
            Registration(ClusterEvent(EventResource.ASSIGNED_POD, Action.DELETE)),
            Registration(ClusterEvent(EventResource.PERSISTENT_VOLUME_CLAIM, Action.ADD)),
        )


class VolumeLimitsFilter(Filter):
    """``wanted`` are the volumes (driver, handle) that the pod brings."""

    basis = Basis.USAGE
    reason = "node(s) exceed max volume count"
    unresolvable = False

    def __init__(self, cluster: ClusterColumns, wanted: dict[Volume, None]) -> None:
        self._cluster = cluster
        self._wanted = wanted

    def feasible(self, rows: Any) -> Mask:
        result: Mask = np.ones(self._cluster.nodes.capacity, dtype=np.bool_)
        for name in self._cluster.storage.csi_nodes:
            if (row := self._cluster.nodes.rows.get(name)) is not None:
                result[row] = self.fits(row)
        return result[rows]

    def fits(self, row: int) -> bool:
        limits = self._limits(row)
        if not any(driver in limits for driver, _ in self._wanted):
            return True
        volumes: dict[Volume, None] = {}
        for placed in self._cluster.storage_pods.get(row, {}).values():
            namespace = placed.obj["metadata"].get("namespace", "")
            volumes.update(csi_volumes(self._cluster, namespace, placed.claims))
        brought = [driver for driver, handle in self._wanted if (driver, handle) not in volumes]
        held = [driver for driver, _ in volumes]
        return all(
            driver not in limits or held.count(driver) + brought.count(driver) <= limits[driver]
            for driver in brought
        )

    def _limits(self, row: int) -> dict[str, int]:
        node = self._cluster.storage.csi_nodes.get(self._cluster.nodes.names[row])
        drivers = node["spec"].get("drivers") or () if node is not None else ()
        counts = ((one["name"], (one.get("allocatable") or {}).get("count")) for one in drivers)
        return {name: count for name, count in counts if count is not None}


def csi_volumes(
    cluster: ClusterColumns, namespace: str, names: Iterable[str]
) -> dict[Volume, None]:
    """The CSI volumes behind claims; one that is not bound yet counts for its provisioner."""
    storage = cluster.storage
    found: dict[Volume, None] = {}
    for name in names:
        claim = storage.claim(namespace, name)
        if claim is None:
            continue
        volume = storage.volumes.get(claim["spec"].get("volumeName") or "")
        if volume is not None:
            if csi := volume["spec"].get("csi"):
                found[csi["driver"], csi["volumeHandle"]] = None
        elif provisioner := storage.classes.get(storage_class(claim), {}).get("provisioner"):
            found[provisioner, f"{namespace}/{name}"] = None
    return found
