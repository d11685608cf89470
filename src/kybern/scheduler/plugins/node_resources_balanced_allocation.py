"""NodeResourcesBalancedAllocation: prefer nodes that the pod makes evener in cpu and memory.

The score is 50 + (50 + evenness with the pod - evenness without it) / 2, as upstream since 1.36.
Best-effort pods have no opinion.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Values
from kybern.scheduler.plugin import MAX_SCORE, Basis, Plugin, Score
from kybern.scheduler.plugins.resource_scoring import (
    ScoredResource,
    resource_specs,
    scored_resources,
)
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]
Fractions = NDArray[np.float64]


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        super().__init__(cluster, args)
        self._resources = resource_specs(args.get("resources"))

    def score(self, shape: PodShape) -> Score | None:
        if not any(shape.requests.amount(spec.name) for spec in self._resources):
            return None
        return BalanceScore(
            scored_resources(self.cluster.nodes, self._resources, shape.requests, nonzero=False)
        )


class BalanceScore(Score):
    basis = Basis.USAGE

    def __init__(self, resources: Sequence[ScoredResource]) -> None:
        self._resources = tuple(resources)

    def raw_one(self, row: int) -> int:
        before: list[float] = []
        after: list[float] = []
        for allocatable, used, asked, _ in self._resources:
            has, taken = allocatable.cells[row], used.cells[row]
            if has:
                before.append(min(taken / has, 1.0))
                after.append(min((taken + asked) / has, 1.0))
        return _combine(_evenness(after), _evenness(before))

    def raw(self, rows: Any) -> Values:
        count = len(self._resources[0].allocatable.values[rows])
        has: list[Any] = []
        before: list[Fractions] = []
        after: list[Fractions] = []
        for allocatable, used, asked, _ in self._resources:
            capacity, taken = allocatable.values[rows], used.values[rows]
            divisor = np.maximum(capacity, 1)
            has.append(capacity != 0)
            before.append(np.minimum(taken / divisor, 1.0))
            after.append(np.minimum((taken + asked) / divisor, 1.0))
        scores = _evenness_over(after, has, count) - _evenness_over(before, has, count)
        half = MAX_SCORE // 2
        # The sum is never negative, so the shift truncates like upstream's division.
        result: Values = half + ((half + scores) >> 1)
        return result


def _combine(with_pod: int, without_pod: int) -> int:
    half = MAX_SCORE // 2
    return half + (half + with_pod - without_pod) // 2


def _evenness(fractions: Sequence[float]) -> int:
    """100 when all shares are equal, less the more they differ."""
    deviation = 0.0
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        mean = sum(fractions) / len(fractions)
        deviation = math.sqrt(sum((f - mean) * (f - mean) for f in fractions) / len(fractions))
    return int((1 - deviation) * MAX_SCORE)


def _evenness_over(fractions: Sequence[Fractions], has: Sequence[Any], count: int) -> Values:
    """As ``_evenness`` over rows; a resource that a node does not have is left out."""
    present = sum(h.astype(np.int64) for h in has)
    if len(fractions) == 2:
        spread = np.abs((fractions[0] - fractions[1]) / 2)
        deviation = np.where(present == 2, spread, 0.0)
    else:
        deviation = _deviation(fractions, has, np.asarray(present), count)
    result: Values = ((1 - deviation) * MAX_SCORE).astype(np.int64)
    return result


def _deviation(
    fractions: Sequence[Fractions], has: Sequence[Any], present: Values, count: int
) -> Fractions:
    divisor = np.maximum(present, 1)
    total: Fractions = np.zeros(count)
    highest: Fractions = np.zeros(count)
    lowest: Fractions = np.ones(count)
    for fraction, there in zip(fractions, has, strict=True):
        total = total + np.where(there, fraction, 0.0)
        highest = np.maximum(highest, np.where(there, fraction, 0.0))
        lowest = np.minimum(lowest, np.where(there, fraction, 1.0))
    mean = total / divisor
    squares: Fractions = np.zeros(count)
    for fraction, there in zip(fractions, has, strict=True):
        squares = squares + np.where(there, (fraction - mean) * (fraction - mean), 0.0)
    of_pair = np.where(present == 2, (highest - lowest) / 2, 0.0)
    return np.where(present > 2, np.sqrt(squares / divisor), of_pair)
