"""Nominated pods: preemption made room for them, and until they are bound their room is theirs.

A pod of lower or equal priority must also fit with them counted as there; the filters then run
twice. Kept by the scheduler from ``status.nominatedNodeName`` and from its own preemptions.

Thousands of pods are nominated at once when many preempt, and every decision asks which rows they
hold: the highest priority nominated to a row is a column, kept true one nomination at a time.
"""

from typing import Any

import numpy as np

from kybern.scheduler.columns.change_log import ChangeLog
from kybern.scheduler.columns.column import Column, Rows
from kybern.scheduler.columns.node_table import NodeTable

Obj = dict[str, Any]

NOBODY = -(2**62)
NO_ROWS: Rows = np.zeros(0, dtype=np.intp)


class Nominations:
    """Pods by the node they are nominated to; ``changes`` logs the rows where they changed."""

    def __init__(self) -> None:
        self.changes: ChangeLog[int] = ChangeLog()
        self._node_of: dict[str, str] = {}
        self._on_node: dict[str, dict[str, Obj]] = {}
        self._with_affinity: dict[str, None] = {}
        self._nodes: NodeTable | None = None
        self._facts = (-1, -1)
        self._highest = Column(0, NOBODY)

    def add(self, pod: Obj, node: str) -> None:
        """Nominate (again); the newest node wins."""
        uid = pod["metadata"]["uid"]
        self.remove(uid)
        self._node_of[uid] = node
        self._on_node.setdefault(node, {})[uid] = pod
        if "affinity" in pod["spec"]:
            self._with_affinity[uid] = None
        self._note(node)

    def remove(self, uid: str) -> None:
        node = self._node_of.pop(uid, None)
        if node is not None:
            there = self._on_node[node]
            del there[uid]
            if not there:
                del self._on_node[node]
            self._with_affinity.pop(uid, None)
            self._note(node)

    @property
    def bring_terms(self) -> bool:
        """Some have affinity, which may keep pods off a node whatever room there is."""
        return bool(self._with_affinity)

    def node_of(self, uid: str) -> str:
        return self._node_of.get(uid, "")

    def on_node(self, node: str) -> list[Obj]:
        return list(self._on_node.get(node, {}).values())

    def rivals(self, pod: Obj, node: str) -> list[Obj]:
        """Nominated pods on ``node`` that the pod must leave room for."""
        there = self._on_node.get(node)
        if not there:
            return []
        uid, priority = pod["metadata"]["uid"], _priority(pod)
        return [
            other
            for other in there.values()
            if other["metadata"]["uid"] != uid and _priority(other) >= priority
        ]

    def contested_rows(self, pod: Obj, nodes: NodeTable) -> Rows:
        """Rows of all nodes with rivals, in order."""
        if not self._on_node:
            return NO_ROWS
        self._follow(nodes)
        rows = np.flatnonzero(self._highest.values >= _priority(pod))
        own = self.node_of(pod["metadata"]["uid"])
        if own in nodes.rows and not self.rivals(pod, own):
            rows = rows[rows != nodes.rows[own]]
        return rows

    def _follow(self, nodes: NodeTable) -> None:
        """Nodes may have come and gone, and rows with them."""
        facts = (nodes.epoch, nodes.facts.end)
        if nodes is self._nodes and facts == self._facts:
            return
        self._nodes, self._facts = nodes, facts
        self._highest = Column(nodes.capacity, NOBODY)
        self.changes.forget()
        for node in self._on_node:
            self._note(node)

    def _note(self, node: str) -> None:
        row = self._nodes.rows.get(node) if self._nodes is not None else None
        if row is None or row >= len(self._highest.values):
            return
        there = self._on_node.get(node, {}).values()
        self._highest.cells[row] = max(map(_priority, there), default=NOBODY)
        self.changes.append(row)


def _priority(pod: Obj) -> int:
    return pod["spec"].get("priority") or 0
