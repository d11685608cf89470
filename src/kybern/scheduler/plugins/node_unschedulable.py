"""NodeUnschedulable: cordoned nodes take no pods, but for those that tolerate the cordon."""

from collections.abc import Sequence
from typing import Any

from kybern.scheduler.columns.column import Mask
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.columns.taints import Taint, is_tolerated
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Filter, Plugin
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]

CORDON = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"

    def filter(self, shape: PodShape) -> Filter | None:
        if is_tolerated(CORDON, shape.tolerations):
            return None
        return UnschedulableFilter(self.cluster.nodes)

    def registrations(self) -> Sequence[Registration]:
        return (
            Registration(
                ClusterEvent(EventResource.NODE, Action.ADD | Action.UPDATE_NODE_TAINT),
                _node_changed,
            ),
            Registration(
                ClusterEvent(EventResource.POD, Action.UPDATE_POD_TOLERATION), _tolerations_changed
            ),
        )


class UnschedulableFilter(Filter):
    reason = "node(s) were unschedulable"
    key = "any pod"

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes

    def feasible(self, rows: Any) -> Mask:
        return self._nodes.unschedulable.values[rows] == 0


def _node_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    was = old is not None and not (old.get("spec") or {}).get("unschedulable")
    now = new is not None and not (new.get("spec") or {}).get("unschedulable")
    return queue_if(now and not was)


def _tolerations_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if new is None or new["metadata"]["uid"] != pod["metadata"]["uid"]:
        return Hint.SKIP
    return queue_if(is_tolerated(CORDON, new["spec"].get("tolerations") or ()))
