"""Merges the hints of all resources into one: the nodes that suit all of them best. Pure.

A merged hint has the nodes that one hint of each resource have in common, and is preferred if they
are the same nodes and all of them are preferred. Upstream tries every combination. The best follows
from the sets of nodes alone, so each set counts once, however many combinations have it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kybern.kubelet.topology.hints import Hint, Hints, Mask, narrowness

# Sorts sets of nodes, the better first.
Order = Callable[[Mask], Any]

_ANY = (Hint(None, True),)
_NONE = (Hint(None, False),)


def by_resource(providers: Iterable[Hints]) -> list[Sequence[Hint]]:
    """The hints of each resource; who says nothing takes any nodes."""
    found: list[Sequence[Hint]] = []
    for hints in providers:
        if not hints:
            found.append(_ANY)
        for possible in hints.values():
            found.append(_ANY if possible is None else possible or _NONE)
    return found


def on_one_node(resources: Iterable[Sequence[Hint]]) -> list[Sequence[Hint]]:
    """Only the preferred hints of one node, or of any."""
    return [
        [hint for hint in hints if hint.preferred and (hint.nodes or 1).bit_count() == 1]
        for hints in resources
    ]


def merge(resources: Sequence[Sequence[Hint]], every: Mask, order: Order = narrowness) -> Hint:
    """The best merged hint; ``every`` is the set of all nodes, and the hint where none is left."""
    preferred = [mask & every for mask in _agreed(resources, every) if mask & every]
    if preferred:
        return Hint(min(preferred, key=order), True)
    common = [mask for mask in _common(resources, every) if mask]
    if common:
        return Hint(min(common, key=_less_preferred(resources, order)), False)
    return Hint(every, False)


def _agreed(resources: Iterable[Sequence[Hint]], every: Mask) -> Iterable[Mask]:
    """The sets that every resource prefers; who takes any agrees to all."""
    agreed: dict[Mask, None] | None = None
    for hints in resources:
        if (None, True) in hints:
            continue
        mine = {hint.nodes: None for hint in hints if hint.preferred and hint.nodes is not None}
        agreed = mine if agreed is None else {mask: None for mask in agreed if mask in mine}
    return (every,) if agreed is None else agreed


def _common(resources: Iterable[Sequence[Hint]], every: Mask) -> Iterable[Mask]:
    """What one hint of each resource can have in common."""
    common = {every: None}
    for hints in resources:
        mine = dict.fromkeys(every if hint.nodes is None else hint.nodes for hint in hints)
        common = {mask & other: None for mask in common for other in mine}
    return common


def _less_preferred(resources: Iterable[Sequence[Hint]], order: Order) -> Order:
    """The order of merged hints that are not preferred.

    The best has as many nodes as the resource that needs the most at least. Fewer than that are
    better than more, and of fewer the most.
    """
    narrowest = [
        min((hint.nodes for hint in hints if hint.nodes is not None), key=narrowness, default=0)
        for hints in resources
    ]
    needed = max((mask.bit_count() for mask in narrowest), default=0)

    def rank(mask: Mask) -> tuple[bool, int, Any]:
        count = mask.bit_count()
        return (count > needed, abs(count - needed), order(mask))

    return rank
