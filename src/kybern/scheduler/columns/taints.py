"""Taints and tolerations, with equal taint lists interned so each is judged once.

Thousands of nodes share a handful of taint lists: a plugin computes one answer for each list and
gathers it over the rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Obj = dict[str, Any]


class Taint(NamedTuple):
    key: str
    value: str
    effect: str


class TaintSets:
    """Distinct taint lists; id 0 is the empty one."""

    def __init__(self) -> None:
        self.lists: list[tuple[Taint, ...]] = [()]
        self._ids: dict[tuple[Taint, ...], int] = {(): 0}

    def intern(self, taints: Iterable[Taint]) -> int:
        key = tuple(taints)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.lists)
            self.lists.append(key)
        return found


def tolerates(toleration: Obj, taint: Taint) -> bool:
    """One toleration against one taint; numeric operators are off by default, as upstream."""
    effect, key = toleration.get("effect"), toleration.get("key")
    if effect and effect != taint.effect:
        return False
    if key and key != taint.key:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return operator == "Equal" and toleration.get("value", "") == taint.value


def is_tolerated(taint: Taint, tolerations: Sequence[Obj]) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def has_untolerated(taints: Iterable[Taint], tolerations: Sequence[Obj]) -> bool:
    """A taint that keeps new pods away (NoSchedule, NoExecute) is not tolerated."""
    return any(
        taint.effect in ("NoSchedule", "NoExecute") and not is_tolerated(taint, tolerations)
        for taint in taints
    )


def node_taints(node: Obj) -> list[Taint]:
    """The taints of a Node object."""
    spec = node.get("spec") or {}
    return [Taint(t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints") or ()]
