"""Which nodes a pod's claims admit, and which volumes its waiting claims would get there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from kybern.api.quantity import Quantity
from kybern.api.selectors import LabelSelector
from kybern.api.volumes import SELECTED_NODE, storage_class
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows, Values
from kybern.scheduler.node_selector import SelectorMask
from kybern.scheduler.plugin import Filter, Verdict
from kybern.scheduler.plugins.storage_capacity import rows_with_room

Obj = dict[str, Any]

REASONS = (
    "node(s) didn't match PersistentVolume's node affinity",
    "node(s) didn't find available persistent volumes to bind",
    "node(s) did not have enough free storage",
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
)
NO_PROVISIONER = "kubernetes.io/no-provisioner"


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """Volumes to bind, as (claim, volume), and claims to provision on the node."""

    bindings: tuple[tuple[Obj, Obj], ...] = ()
    provisions: tuple[Obj, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.bindings or self.provisions)


class VolumeFilter(Filter):
    """Rests on facts of nodes: with any change of claims or volumes the class is made anew."""

    def __init__(
        self, cluster: ClusterColumns, bound: Sequence[Obj], waiting: Sequence[Obj]
    ) -> None:
        self._cluster = cluster
        self._find_bound(bound)
        self.is_costly = bool(waiting)
        if not waiting:
            self.key = (orjson.dumps(self._reaches), self._is_lost)
        self._promised = [claim for claim in waiting if _selected_node(claim)]
        others = [claim for claim in waiting if not _selected_node(claim)]
        self._candidates = [
            (claim, candidates(claim, list(cluster.storage.volumes.values())))
            for claim in sorted(others, key=requested)
        ]

    @property
    def admits_all(self) -> bool:
        """Volumes are wherever the pod goes."""
        return not (self._reaches or self._is_lost or self._promised or self._candidates)

    def feasible(self, rows: Any) -> Mask:
        return self._kinds(rows) == 0

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        kinds = self._kinds(rows)
        return [
            Verdict(
                plugin,
                tuple(text for bit, text in enumerate(REASONS) if kind >> bit & 1),
                True,
                rows[kinds == kind],
            )
            for kind in np.unique(kinds).tolist()
        ]

    def plan(self, row: int) -> VolumePlan:
        """What the waiting claims get on a feasible row."""
        rows = np.array([row], dtype=np.intp)
        bindings: list[tuple[Obj, Obj]] = []
        provisions = list(self._promised)
        for (claim, volumes), chosen in zip(self._candidates, self._choose(rows), strict=True):
            if chosen[0] < 0:
                provisions.append(claim)
            else:
                bindings.append((claim, volumes[int(chosen[0])]))
        return VolumePlan(tuple(bindings), tuple(provisions))

    def _find_bound(self, claims: Sequence[Obj]) -> None:
        """What keeps bound volumes from some nodes; no further than to one that does not exist."""
        self._reaches: list[Sequence[Obj]] = []
        self._is_lost = False
        for claim in claims:
            volume = self._cluster.storage.volumes.get(claim["spec"]["volumeName"])
            if volume is None:
                self._is_lost = True
                return
            if (terms := _reach(volume)) is not None:
                self._reaches.append(terms)

    def _kinds(self, rows: Any) -> Values:
        """A bit for each reason against a row."""
        elsewhere, lost = self._judge_bound(rows)
        unmatched, full = self._judge_waiting(rows)
        judged = (elsewhere, unmatched, full, lost)
        kinds: Values = np.zeros(len(elsewhere), dtype=np.int64)
        for bit, mask in enumerate(judged):
            kinds |= mask.astype(np.int64) << bit
        return kinds

    def _judge_bound(self, rows: Any) -> tuple[Mask, Mask]:
        """Rows that a bound volume keeps off, and rows that no volume kept off before one turned
        out not to exist."""
        admitted: Mask = np.ones(self._cluster.nodes.count(rows), dtype=np.bool_)
        for terms in self._reaches:
            admitted &= SelectorMask(self._cluster.nodes, {}, terms).over(rows)
        return ~admitted, admitted & self._is_lost

    def _judge_waiting(self, rows: Any) -> tuple[Mask, Mask]:
        """Rows where claims find no volume and cannot get one, and rows where the storage is full.
        The first claim that a row fails says which."""
        nodes = self._cluster.nodes
        unmatched: Mask = np.zeros(nodes.count(rows), dtype=np.bool_)
        for claim in self._promised:
            row = nodes.rows.get(_selected_node(claim), -1)
            unmatched |= ~np.equal(nodes.positions(rows), row)
        everywhere = np.ones_like(unmatched)
        wanted = [(claim, everywhere) for claim in self._promised]
        for (claim, _), chosen in zip(self._candidates, self._choose(rows), strict=True):
            wanted.append((claim, chosen < 0))
        full = np.zeros_like(unmatched)
        for claim, where in wanted:
            left = where & ~unmatched & ~full
            unmatched |= left & ~self._provisionable(claim, rows)
            found = self._cluster.storage.classes.get(storage_class(claim), {})
            room = rows_with_room(self._cluster, found, requested(claim), rows) if found else None
            if room is not None:
                full |= left & ~unmatched & ~room
        return unmatched, full

    def _choose(self, rows: Any) -> list[Values]:
        """For each waiting claim and row, the index of the volume that it gets there, or -1."""
        count = self._cluster.nodes.count(rows)
        taken: dict[str, Mask] = {}
        result: list[Values] = []
        for _, volumes in self._candidates:
            chosen: Values = np.full(count, -1, dtype=np.int64)
            for index, volume in enumerate(volumes):
                name = volume["metadata"]["name"]
                used = taken.setdefault(name, np.zeros(count, dtype=np.bool_))
                reach = SelectorMask(self._cluster.nodes, {}, _reach(volume))
                here = reach.over(rows) & (chosen < 0) & ~used
                chosen[here] = index
                used |= here
            result.append(chosen)
        return result

    def _provisionable(self, claim: Obj, rows: Any) -> Mask:
        """Rows whose nodes are in the topologies that the class may provision for."""
        found = self._cluster.storage.classes.get(storage_class(claim), {})
        count = self._cluster.nodes.count(rows)
        if found.get("provisioner") in (None, "", NO_PROVISIONER):
            return np.zeros(count, dtype=np.bool_)
        terms = [
            {
                "matchExpressions": [
                    {**expression, "operator": "In"}
                    for expression in term.get("matchLabelExpressions") or ()
                ]
            }
            for term in found.get("allowedTopologies") or ()
        ]
        return SelectorMask(self._cluster.nodes, {}, terms or None).over(rows)


def _reach(volume: Obj) -> Sequence[Obj] | None:
    """The terms that select the nodes that can use a volume; None if all can."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return None if required is None else required.get("nodeSelectorTerms") or ()


def requested(claim: Obj) -> int:
    """How many bytes a claim asks for."""
    resources = claim["spec"].get("resources") or {}
    return Quantity.parse((resources.get("requests") or {}).get("storage", "0")).value()


def candidates(claim: Obj, volumes: Sequence[Obj]) -> list[Obj]:
    """The volumes that a claim may get, the smallest first; one that is its own excludes others."""
    fitting = [volume for volume in volumes if _suits(claim, volume)]
    own = [volume for volume in fitting if _is_promised_to(claim, volume)]
    if own:
        return own[:1]
    selector = claim["spec"].get("selector")
    parsed = LabelSelector.from_object(selector) if selector is not None else None
    free = [
        volume
        for volume in fitting
        if "claimRef" not in volume["spec"]
        and (volume.get("status") or {}).get("phase") == "Available"
        and storage_class(volume) == storage_class(claim)
        and (parsed is None or parsed.matches(volume["metadata"].get("labels") or {}))
        and _offers_modes(claim, volume)
    ]
    return sorted(free, key=_capacity)


def _suits(claim: Obj, volume: Obj) -> bool:
    mine, its = claim["spec"], volume["spec"]
    return (
        _capacity(volume) >= requested(claim)
        and (mine.get("volumeMode") or "Filesystem") == (its.get("volumeMode") or "Filesystem")
        and (mine.get("volumeAttributesClassName") or "")
        == (its.get("volumeAttributesClassName") or "")
        and "deletionTimestamp" not in volume["metadata"]
    )


def _offers_modes(claim: Obj, volume: Obj) -> bool:
    offered = volume["spec"].get("accessModes") or ()
    return all(mode in offered for mode in claim["spec"].get("accessModes") or ())


def _is_promised_to(claim: Obj, volume: Obj) -> bool:
    reference = volume["spec"].get("claimRef")
    meta = claim["metadata"]
    return (
        reference is not None
        and reference["name"] == meta["name"]
        and reference["namespace"] == meta["namespace"]
        and reference.get("uid", "") in ("", meta["uid"])
    )


def _capacity(volume: Obj) -> int:
    return Quantity.parse((volume["spec"].get("capacity") or {}).get("storage", "0")).value()


def _selected_node(claim: Obj) -> str:
    return (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE, "")
