"""Nominated pods: preemption made room for them, and until they are bound their room is theirs.

A pod of lower or equal priority must also fit with them counted as there; the filters then run
twice. Kept by the scheduler from ``status.nominatedNodeName`` and from its own preemptions.
"""

from collections.abc import Mapping
from typing import Any

Obj = dict[str, Any]


class Nominations:
    """Pods by the node they are nominated to."""

    def __init__(self) -> None:
        self._node_of: dict[str, str] = {}
        self._on_node: dict[str, dict[str, Obj]] = {}

    def add(self, pod: Obj, node: str) -> None:
        """Nominate (again); the newest node wins."""
        uid = pod["metadata"]["uid"]
        self.remove(uid)
        self._node_of[uid] = node
        self._on_node.setdefault(node, {})[uid] = pod

    def remove(self, uid: str) -> None:
        node = self._node_of.pop(uid, None)
        if node is not None:
            there = self._on_node[node]
            del there[uid]
            if not there:
                del self._on_node[node]

    def node_of(self, uid: str) -> str:
        return self._node_of.get(uid, "")

    def on_node(self, node: str) -> list[Obj]:
        return list(self._on_node.get(node, {}).values())

    def rivals(self, pod: Obj, node: str) -> list[Obj]:
        """Nominated pods on ``node`` that the pod must leave room for."""
        there = self._on_node.get(node)
        if not there:
            return []
        uid, priority = pod["metadata"]["uid"], pod["spec"].get("priority") or 0
        return [
            other
            for other in there.values()
            if other["metadata"]["uid"] != uid and (other["spec"].get("priority") or 0) >= priority
        ]

    def contested_rows(self, pod: Obj, rows: Mapping[str, int]) -> list[int]:
        """Rows of all nodes with rivals."""
        if not self._on_node:
            return []
        return [rows[node] for node in self._on_node if node in rows and self.rivals(pod, node)]
