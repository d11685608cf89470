"""NodeDeclaredFeatures: pods that need a new feature of the kubelet go where a node declares it.

Which features a pod needs is read from its spec (KEP-5328); few features matter to scheduling.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Mask
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Filter, Plugin
from kybern.scheduler.pod_shape import PodShape, needed_features

Obj = dict[str, Any]


class NodeDeclaredFeatures(Plugin):
    name = "NodeDeclaredFeatures"

    def filter(self, shape: PodShape) -> Filter | None:
        needed = needed_features(shape.spec)
        return FeaturesFilter(self.cluster.nodes, needed) if needed else None

    def registrations(self) -> Sequence[Registration]:
        nodes = Action.ADD | Action.UPDATE_NODE_DECLARED_FEATURE
        return (
            Registration(ClusterEvent(EventResource.NODE, nodes), _node_changed),
            Registration(ClusterEvent(EventResource.POD, Action.UPDATE), _pod_changed),
        )


class FeaturesFilter(Filter):
    reason = "node(s) didn't match Pod's required features"

    def __init__(self, nodes: NodeTable, needed: tuple[str, ...]) -> None:
        self.key = needed
        self._nodes = nodes
        self._needed = frozenset(needed)

    def feasible(self, rows: Any) -> Mask:
        numbers = self._nodes.positions(rows).tolist()
        return np.array([self.fits(row) for row in numbers], dtype=np.bool_)

    def fits(self, row: int) -> bool:
        known = self._nodes.objects
        node = known[row] if row < len(known) else None
        return node is not None and self._needed.issubset(declared_features(node))


def declared_features(node: Obj) -> Sequence[str]:
    return (node.get("status") or {}).get("declaredFeatures") or ()


def _node_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or new is None:
        return Hint.QUEUE
    return queue_if(declared_features(old) != declared_features(new))


def _pod_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or new is None or new["metadata"]["uid"] != pod["metadata"]["uid"]:
        return Hint.SKIP
    return queue_if(needed_features(old["spec"]) != needed_features(new["spec"]))
