"""NodeName: a pod that names its node goes nowhere else."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Mask
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.events import NODE_ADD, Registration
from kybern.scheduler.plugin import Filter, Plugin
from kybern.scheduler.pod_shape import PodShape


class NodeName(Plugin):
    name = "NodeName"

    def filter(self, shape: PodShape) -> Filter | None:
        wanted = shape.spec.get("nodeName")
        return NamedNodeFilter(self.cluster.nodes, wanted) if wanted else None

    def registrations(self) -> Sequence[Registration]:
        return (Registration(NODE_ADD),)


class NamedNodeFilter(Filter):
    reason = "node(s) didn't match the requested node name"

    def __init__(self, nodes: NodeTable, wanted: str) -> None:
        self._nodes = nodes
        self._wanted = wanted
        self.key = wanted

    def feasible(self, rows: Any) -> Mask:
        return np.equal(self._nodes.positions(rows), self._nodes.rows.get(self._wanted, -1))
