"""NodePorts: two pods on a node cannot take the same host port.

The wildcard address collides with every other, so ports are compared row by row, and only for
classes that take host ports at all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask
from kybern.scheduler.events import (
    NODE_ADD,
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Basis, Filter, Plugin
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.ports import HostPort, host_ports

Obj = dict[str, Any]


class NodePorts(Plugin):
    name = "NodePorts"

    def filter(self, shape: PodShape) -> Filter | None:
        return PortsFilter(self.cluster, shape.ports) if shape.ports else None

    def registrations(self) -> Sequence[Registration]:
        return (
            Registration(ClusterEvent(EventResource.POD, Action.DELETE), _pod_deleted),
            Registration(NODE_ADD),
        )


class PortsFilter(Filter):
    basis = Basis.USAGE
    reason = "node(s) didn't have free ports for the requested pod ports"
    unresolvable = False

    def __init__(self, cluster: ClusterColumns, wanted: Sequence[HostPort]) -> None:
        self.key = tuple(wanted)
        self._cluster = cluster
        self._wanted = wanted

    def feasible(self, rows: Any) -> Mask:
        result: Mask = np.ones(self._cluster.nodes.capacity, dtype=np.bool_)
        for row in self._cluster.ports:
            result[row] = self.fits(row)
        return result[rows]

    def fits(self, row: int) -> bool:
        return not _collide(self._wanted, self._cluster.ports.get(row, ()))


def _collide(wanted: Sequence[HostPort], taken: Sequence[HostPort]) -> bool:
    return any(want.collides(other) for want in wanted for other in taken)


def _pod_deleted(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or not (
        old["spec"].get("nodeName") or (old.get("status") or {}).get("nominatedNodeName")
    ):
        return Hint.SKIP
    return queue_if(_collide(host_ports(pod["spec"]), host_ports(old["spec"])))
