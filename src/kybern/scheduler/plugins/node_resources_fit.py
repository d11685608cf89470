"""NodeResourcesFit: the node must have room; how full it gets is a score.

Strategies: LeastAllocated (default) spreads, MostAllocated packs, RequestedToCapacityRatio follows
a given shape. Fit counts real requests, the score counts the non-zero ones.
"""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kybern.api.resource_claims import CLASS_PREFIX
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Column, Mask, Rows, Values, cells_of
from kybern.scheduler.columns.node_table import NodeTable, allocatable_amount
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Basis, Filter, Plugin, Score, Verdict
from kybern.scheduler.plugins.allocation_strategies import (
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
)
from kybern.scheduler.plugins.resource_scoring import resource_specs, scored_resources
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.requests import Requests, is_extended_resource, requests_of

Obj = dict[str, Any]


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        super().__init__(cluster, args)
        strategy = args.get("scoringStrategy") or {}
        self._strategy: str = strategy.get("type") or "LeastAllocated"
        self._resources = resource_specs(strategy.get("resources"))
        ratio = strategy.get("requestedToCapacityRatio") or {}
        self._shape = [(p["utilization"], p["score"]) for p in ratio.get("shape") or ()]
        self._ignored = frozenset(args.get("ignoredResources") or ())
        self._ignored_groups = frozenset(args.get("ignoredResourceGroups") or ())

    def filter(self, shape: PodShape) -> Filter | None:
        asked = self._checked(shape.requests)
        return FitFilter(self.cluster.nodes, asked, self.cluster.storage.backed)

    def score(self, shape: PodShape) -> Score | None:
        resources = scored_resources(
            self.cluster.nodes, self._resources, _of_containers(shape), nonzero=True
        )
        if not resources:
            return None
        if self._strategy == "MostAllocated":
            return MostAllocated(resources)
        if self._strategy == "RequestedToCapacityRatio":
            return RequestedToCapacityRatio(resources, self._shape)
        return LeastAllocated(resources)

    def registrations(self) -> Sequence[Registration]:
        pod_actions = Action.DELETE | Action.UPDATE_POD_SCALE_DOWN
        node_actions = Action.ADD | Action.UPDATE_NODE_ALLOCATABLE
        return (
            Registration(ClusterEvent(EventResource.POD, pod_actions), _pod_changed),
            Registration(ClusterEvent(EventResource.NODE, node_actions), self._node_changed),
            Registration(
                ClusterEvent(EventResource.DEVICE_CLASS, Action.ADD | Action.UPDATE), _class_changed
            ),
        )

    def _checked(self, requests: Requests) -> list[tuple[str, int]]:
        """The resources that must have room; the profile may leave extended ones to others."""
        return [
            (name, amount)
            for name, amount in requests.items()
            if amount and not (is_extended_resource(name) and self._is_ignored(name))
        ]

    def _is_ignored(self, name: str) -> bool:
        return name in self._ignored or name.partition("/")[0] in self._ignored_groups

    def _node_changed(self, pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
        if new is None:
            return Hint.SKIP
        if allocatable_amount(new, "pods") < 1:
            return Hint.SKIP
        backed = self.cluster.storage.backed
        asked = [
            (name, amount)
            for name, amount in requests_of(pod).items()
            if name not in backed or allocatable_amount(new, name)
        ]
        if any(amount > allocatable_amount(new, name) for name, amount in asked):
            return Hint.SKIP
        if old is None or allocatable_amount(new, "pods") > allocatable_amount(old, "pods"):
            return Hint.QUEUE
        return queue_if(
            any(allocatable_amount(new, name) > allocatable_amount(old, name) for name, _ in asked)
        )


class OfferedOrBacked:
    """What nodes offer of an extended resource that a device class stands behind: more than any pod
    asks for where they offer none themselves, which is then DynamicResources' to judge."""

    PLENTY = 1 << 60

    def __init__(self, offered: Column) -> None:
        self._offered = offered

    @property
    def values(self) -> Values:
        offered = self._offered.values
        return np.where(offered == 0, self.PLENTY, offered)

    @property
    def cells(self) -> memoryview:
        return cells_of(self.values)


class FitFilter(Filter):
    basis = Basis.USAGE
    unresolvable = False

    def __init__(
        self, nodes: NodeTable, asked: Sequence[tuple[str, int]], backed: Container[str] = ()
    ) -> None:
        self._nodes = nodes
        self._asked: list[tuple[str, int, Column | OfferedOrBacked, Column]] = []
        for name, amount in asked:
            resource = nodes.resource(name)
            offered = resource.allocatable
            has = OfferedOrBacked(offered) if name in backed else offered
            self._asked.append((name, amount, has, resource.requested))
        self.asked = tuple(asked)
        self.key = (self.asked, tuple(name for name, _ in asked if name in backed))
        self.names = tuple(name for name, _ in asked)
        self._texts = ("Too many pods", *(f"Insufficient {name}" for name in self.names))

    def takes(self, requests: Requests) -> Sequence[int]:
        """What a pod takes of what ``lacks`` is about: a pod slot and each resource asked for."""
        return 1, *requests.amounts(self.names)

    def lacks(self, row: int) -> list[int]:
        """How much a pod would overdraw the row: first pod slots, then each resource asked for."""
        nodes = self._nodes
        return [
            nodes.pod_count.cells[row] + 1 - nodes.pod_limit.cells[row],
            *(
                amount - allocatable.cells[row] + requested.cells[row]
                for _, amount, allocatable, requested in self._asked
            ),
        ]

    def share_lacking(self, rows: Rows) -> NDArray[np.float64]:
        """How far each row is from having room: the parts of the requests that are missing."""
        nodes = self._nodes
        missing = (nodes.pod_count.values[rows] >= nodes.pod_limit.values[rows]).astype(np.float64)
        for _, amount, allocatable, requested in self._asked:
            lack = amount - allocatable.values[rows] + requested.values[rows]
            missing += np.maximum(lack, 0) / amount
        return missing

    def reasons(self, lacks: Sequence[int]) -> tuple[str, ...]:
        """The texts for what is overdrawn."""
        return tuple(text for text, lack in zip(self._texts, lacks, strict=True) if lack > 0)

    def feasible(self, rows: Any) -> Mask:
        nodes = self._nodes
        result: Mask = nodes.pod_count.values[rows] < nodes.pod_limit.values[rows]
        for _, amount, allocatable, requested in self._asked:
            result &= allocatable.values[rows] - requested.values[rows] >= amount
        return result

    def fits(self, row: int) -> bool:
        nodes = self._nodes
        if nodes.pod_count.cells[row] >= nodes.pod_limit.cells[row]:
            return False
        for _, amount, allocatable, requested in self._asked:
            if allocatable.cells[row] - requested.cells[row] < amount:
                return False
        return True

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        """Rows with the same set of insufficient resources share a verdict."""
        kinds = self._kinds(rows)
        first = int(kinds[0])
        if (kinds == first).all():
            # Full clusters are full alike; nothing has to be sorted.
            return [self._verdict(plugin, first, rows)]
        found = np.unique(kinds).tolist()
        return [self._verdict(plugin, kind, rows[kinds == kind]) for kind in found]

    def _kinds(self, rows: Rows) -> Values:
        """A bit for each resource that is short, above one that says that evictions cannot help."""
        nodes = self._nodes
        kinds = (nodes.pod_count.values[rows] >= nodes.pod_limit.values[rows]).astype(np.int64)
        hopeless: Mask = np.zeros(len(kinds), dtype=np.bool_)
        for bit, (_, amount, allocatable, requested) in enumerate(self._asked, 1):
            has = allocatable.values[rows]
            kinds |= (has - requested.values[rows] < amount).astype(np.int64) << bit
            hopeless |= has < amount
        return kinds << 1 | hopeless

    def _verdict(self, plugin: str, kind: int, rows: Rows) -> Verdict:
        texts = tuple(text for bit, text in enumerate(self._texts, 1) if kind >> bit & 1)
        return Verdict(plugin, texts, bool(kind & 1), rows)


def _of_containers(shape: PodShape) -> Requests:
    """What the score counts for the pod itself: its containers' requests, whatever the pod asks for
    as a whole. Upstream does so here and nowhere else."""
    if "resources" not in shape.spec:
        return shape.requests
    spec = {name: value for name, value in shape.spec.items() if name != "resources"}
    return requests_of({**shape.pod, "spec": spec})


def _class_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """A class may stand behind what the pod asks for now."""
    if new is None:
        return Hint.SKIP
    names = {new["spec"].get("extendedResourceName")}
    if old is None:
        names.add(f"{CLASS_PREFIX}{new['metadata']['name']}")
    elif old["spec"].get("extendedResourceName") in names:
        return Hint.SKIP
    return queue_if(any(name in names for name, _ in requests_of(pod).items()))


def _pod_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """A deleted or scaled-down pod frees what this one may need."""
    if new is None:
        return queue_if(old is not None and _holds_a_node(old))
    if new["metadata"]["uid"] == pod["metadata"]["uid"]:
        return Hint.QUEUE
    if old is None or not new["spec"].get("nodeName"):
        return Hint.SKIP
    before, after = requests_of(old), requests_of(new)
    asked = requests_of(pod).items()
    return queue_if(any(before.amount(name) > after.amount(name) for name, _ in asked))


def _holds_a_node(pod: Obj) -> bool:
    return bool(pod["spec"].get("nodeName") or (pod.get("status") or {}).get("nominatedNodeName"))
