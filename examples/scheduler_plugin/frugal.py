"""Frugal: important pods only on nodes that are about to go, and cheap nodes first.

Nodes carry two labels: ``example.com/leaving`` (any value) and ``example.com/cents-per-hour``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Values
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.events import Action, ClusterEvent, EventResource, Registration
from kybern.scheduler.plugin import Filter, Plugin, Score
from kybern.scheduler.pod_shape import PodShape

LEAVING = "example.com/leaving"
COST = "example.com/cents-per-hour"
DEAR = 100


class Frugal(Plugin):
    name = "Frugal"

    def filter(self, shape: PodShape) -> Filter | None:
        if shape.priority >= self.args.get("importantPriority", 0):
            return None
        return Staying(self.cluster.nodes)

    def score(self, shape: PodShape) -> Score | None:
        return Cheap(self.cluster.nodes)

    def registrations(self) -> Sequence[Registration]:
        """A pod that was turned down is tried again when a node comes or changes its labels."""
        actions = Action.ADD | Action.UPDATE_NODE_LABEL
        return (Registration(ClusterEvent(EventResource.NODE, actions)),)


class Staying(Filter):
    """One node at a time."""

    reason = "node(s) were about to leave"

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes

    def fits(self, row: int) -> bool:
        node = self._nodes.objects[row]
        return node is not None and LEAVING not in (node["metadata"].get("labels") or {})


class Cheap(Score):
    """All nodes at once: a label's values are judged once, then gathered over the rows."""

    def __init__(self, nodes: NodeTable) -> None:
        self._column = nodes.label(COST)

    def raw(self, rows: Any) -> Values:
        cents = [min(int(value), DEAR) for value in self._column.values]
        # The last place answers for nodes without the label, whose domain is -1.
        points = np.array([100 * (DEAR - each) // DEAR for each in cents] + [0], dtype=np.int64)
        return points[self._column.domains.values[rows]]
