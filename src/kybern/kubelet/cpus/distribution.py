"""How many CPUs to take from which NUMA node, where one is not enough (KEP-2902). Pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

# A NUMA node and how many CPUs to take from it; a node may be named again for what is left over.
Shares = list[tuple[int, int]]


def best_split(free: Mapping[int, int], count: int, group: int, per_node: int) -> Shares | None:
    """The split over the fewest nodes that leaves the most even machine; None if there is none.

    ``free`` are the nodes' free CPUs, in order of preference; CPUs go in groups of ``group``, of
    which a node has ``per_node`` in all.
    """
    groups = (count - 1) // group + 1
    for size in range((groups - 1) // per_node + 1, min(groups, len(free)) + 1):
        best: tuple[float, Sequence[int], Sequence[int]] | None = None
        for nodes in combinations(free, size):
            found = _judge(free, nodes, count, group)
            if found is not None and (best is None or found[0] < best[0]):
                best = (found[0], nodes, found[1])
        if best is not None:
            return _shares(free, best[1], best[2], count, group)
    return None


def _even(count: int, nodes: Sequence[int], group: int) -> int:
    """What every node gives."""
    return count // len(nodes) // group * group


def _judge(
    free: Mapping[int, int], nodes: Sequence[int], count: int, group: int
) -> tuple[float, Sequence[int]] | None:
    """The unevenness that these nodes would leave, and which of them give the remainder."""
    even = _even(count, nodes, group)
    if sum(free[node] // group * group for node in nodes) < count:
        return None
    if any(free[node] < even for node in nodes):
        return None
    left = {node: room - even if node in nodes else room for node, room in free.items()}
    remainder = count - even * len(nodes)
    if not remainder:
        return _unevenness(left), ()
    able = [node for node in nodes if left[node] >= group]
    best: tuple[float, Sequence[int]] | None = None
    for size in range(len(able), 0, -1):
        for givers in combinations(able, size):
            rounds = _rounds(left, givers, remainder, group)
            if sum(share for _, share in rounds) < remainder:
                continue
            after = dict(left)
            for node, share in rounds:
                after[node] -= share
            score = _unevenness(after)
            if best is None or score < best[0]:
                best = score, givers
    return best


def _rounds(left: Mapping[int, int], givers: Sequence[int], remainder: int, group: int) -> Shares:
    """The remainder, a group from each giver in turn, as far as they have some left."""
    found: Shares = []
    room = dict(left)
    while remainder > 0:
        able = [node for node in givers if room[node] >= group]
        for node in able[: -(-remainder // group)]:
            room[node] -= group
            remainder -= group
            found.append((node, group))
        if not able:
            break
    return found


def _shares(
    free: Mapping[int, int], nodes: Sequence[int], givers: Sequence[int], count: int, group: int
) -> Shares:
    even = _even(count, nodes, group)
    left = {node: free[node] - even for node in nodes}
    return [(node, even) for node in nodes] + _rounds(
        left, givers, count - even * len(nodes), group
    )


def _unevenness(left: Mapping[int, int]) -> float:
    """The standard deviation of what is left, rounded as upstream rounds it."""
    values = list(left.values())
    mean = _rounded(sum(values) / len(values))
    return _rounded((sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5)


def _rounded(value: float) -> float:
    """To thousandths, halves upwards."""
    return math.floor(value * 1000 + 0.5) / 1000
