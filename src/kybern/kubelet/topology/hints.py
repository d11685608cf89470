"""Where a container could have what it asks for, as the managers say it to each other. Pure.

A set of NUMA nodes is a mask, an integer whose bits are the nodes' numbers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

Mask = int


class Hint(NamedTuple):
    """Nodes that could serve a request; None for any. No fewer could serve a preferred one."""

    nodes: Mask | None
    preferred: bool


# What a container is given by where nobody looked for nodes.
NO_HINT = Hint(None, False)

# By resource: the possible hints, none where no nodes will do, None where any do.
Hints = Mapping[str, Sequence[Hint] | None]


def mask_of(nodes: Iterable[int]) -> Mask:
    """The set of these nodes."""
    mask = 0
    for node in nodes:
        mask |= 1 << node
    return mask


def numbers(mask: Mask) -> list[int]:
    """The nodes of a set, in order."""
    return [node for node in range(mask.bit_length()) if mask >> node & 1]


def masks(nodes: Iterable[int]) -> Iterator[Mask]:
    """Every set of these nodes but the empty one, smaller ones first."""
    ordered = sorted(nodes)
    for size in range(1, len(ordered) + 1):
        for chosen in combinations(ordered, size):
            yield mask_of(chosen)


def narrowness(mask: Mask) -> tuple[int, int]:
    """Sorts sets by how narrow they are: by their size, then lower nodes first."""
    return mask.bit_count(), mask


def preferring(possible: Iterable[Mask], fewest: int) -> list[Hint]:
    """Hints for these sets, of which those of the fewest nodes are preferred."""
    return [Hint(mask, mask.bit_count() == fewest) for mask in possible]
