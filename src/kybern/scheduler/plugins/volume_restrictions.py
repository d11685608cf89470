"""VolumeRestrictions: disks and claims that only one pod may use at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows
from kybern.scheduler.events import (
    NODE_ADD,
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Basis, Confinement, Filter, Plugin, Verdict
from kybern.scheduler.plugins.claim_hints import claim_is_its, shares_a_claim
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import claim_names, ephemeral_claim_names, inline_disks

Obj = dict[str, Any]
Disk = tuple[str, Obj]

DISK_IN_USE = "node(s) had no available disk"
CLAIM_IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
    "already in-use by another pod"
)


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"

    def confine(self, shape: PodShape) -> Confinement | None:
        made_for_the_pod = ephemeral_claim_names(shape.pod)
        for name in claim_names(shape.pod):
            if name in made_for_the_pod:
                continue
            if self.cluster.storage.claim(shape.namespace, name) is None:
                return Confinement(rejection=f'persistentvolumeclaim "{name}" not found')
        return None

    def filter(self, shape: PodShape) -> Filter | None:
        disks = inline_disks(shape.pod)
        exclusive: list[str] = []
        for name in claim_names(shape.pod):
            claim = self.cluster.storage.claim(shape.namespace, name) or {"spec": {}}
            if "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ()):
                exclusive.append(f"{shape.namespace}/{name}")
        return RestrictionsFilter(self.cluster, disks, exclusive) if disks or exclusive else None

    def registrations(self) -> Sequence[Registration]:
        claims = ClusterEvent(EventResource.PERSISTENT_VOLUME_CLAIM, Action.ADD | Action.UPDATE)
        return (
            Registration(ClusterEvent(EventResource.POD, Action.DELETE), _pod_deleted),
            Registration(NODE_ADD),
            Registration(claims, claim_is_its),
        )


class RestrictionsFilter(Filter):
    basis = Basis.CLUSTER
    is_costly = True
    unresolvable = False

    def __init__(
        self, cluster: ClusterColumns, disks: Sequence[Disk], exclusive: Sequence[str]
    ) -> None:
        self._cluster = cluster
        self._disks = disks
        self._exclusive = exclusive

    def feasible(self, rows: Any) -> Mask:
        result: Mask = np.full(self._cluster.nodes.capacity, self._are_free(), dtype=np.bool_)
        if self._disks:
            for row in self._cluster.storage_pods:
                result[row] = result[row] and self._disks_fit(row)
        return result[rows]

    def fits(self, row: int) -> bool:
        return self._are_free() and self._disks_fit(row)

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        fits = np.array([self._disks_fit(row) for row in rows.tolist()], dtype=np.bool_)
        parts = ((rows[~fits], DISK_IN_USE), (rows[fits], CLAIM_IN_USE))
        return [Verdict(plugin, (why,), False, part) for part, why in parts if len(part)]

    def _are_free(self) -> bool:
        return not any(self._cluster.claim_users.get(key) for key in self._exclusive)

    def _disks_fit(self, row: int) -> bool:
        there = self._cluster.storage_pods.get(row, {}).values()
        return not any(_any_collide(self._disks, inline_disks(placed.obj)) for placed in there)


def _pod_deleted(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """A pod that held a disk or a claim that this one wants, too."""
    if old is None or old["metadata"].get("namespace") != pod["metadata"].get("namespace"):
        return Hint.SKIP
    collide = _any_collide(inline_disks(pod), inline_disks(old))
    return queue_if(collide or shares_a_claim(pod, old))


def _any_collide(some: Sequence[Disk], others: Sequence[Disk]) -> bool:
    return any(_collide(one, other) for one in some for other in others)


def _collide(one: Disk, other: Disk) -> bool:
    (kind, mine), (other_kind, theirs) = one, other
    if kind != other_kind:
        return False
    if kind == "awsElasticBlockStore":
        return bool(mine["volumeID"] == theirs["volumeID"])
    if mine.get("readOnly") and theirs.get("readOnly"):
        return False
    if kind == "gcePersistentDisk":
        return bool(mine["pdName"] == theirs["pdName"])
    if kind == "iscsi":
        return bool(mine["iqn"] == theirs["iqn"])
    monitors = theirs.get("monitors") or ()
    return (
        any(monitor in monitors for monitor in mine.get("monitors") or ())
        and mine.get("pool", "rbd") == theirs.get("pool", "rbd")
        and mine.get("image") == theirs.get("image")
    )
