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
from kybern.scheduler.columns.column import Column, Mask, Values
from kybern.scheduler.columns.row_cache import RowCache
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
        self._before: dict[tuple[Column, ...], RowCache] = {}

    def score(self, shape: PodShape) -> Score | None:
        if not any(shape.requests.amount(spec.name) for spec in self._resources):
            return None
        nodes = self.cluster.nodes
        resources = scored_resources(nodes, self._resources, shape.requests, nonzero=False)
        # How even a row is without the pod is the same for all that ask for these resources.
        columns = tuple(one.allocatable for one in resources)
        before = self._before.get(columns)
        if before is None:
            used = [(one.allocatable, one.used) for one in resources]
            before = self._before[columns] = RowCache(
                nodes,
                lambda rows: _evenness_over([(a.values[rows], u.values[rows]) for a, u in used]),
            )
        return BalanceScore(resources, before)


class BalanceScore(Score):
    basis = Basis.USAGE

    def __init__(self, resources: Sequence[ScoredResource], before: RowCache) -> None:
        self.key = self._resources = tuple(resources)
        self._before = before

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
        scores = _evenness_over(
            [
                (allocatable.values[rows], used.values[rows] + asked)
                for allocatable, used, asked, _ in self._resources
            ]
        )
        scores -= self._before.over(rows)
        half = MAX_SCORE // 2
        # The sum is never negative, so the shift truncates like upstream's division.
        scores += half
        scores >>= 1
        scores += half
        return scores


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


def _evenness_over(resources: Sequence[tuple[Values, Values]]) -> Values:
    """As ``_evenness`` over rows, from what each resource has and what is in use; a resource that a
    node does not have is left out."""
    shares: list[Fractions] = []
    is_everywhere = True
    for has, used in resources:
        if not has.all():
            is_everywhere = False
            share = used / np.maximum(has, 1)
        else:
            share = used / has
        shares.append(np.minimum(share, 1.0, out=share))
    if len(shares) == 2 and is_everywhere:
        deviation = np.subtract(shares[0], shares[1], out=shares[0])
        deviation /= 2
        np.abs(deviation, out=deviation)
    else:
        deviation = _deviation(shares, [has != 0 for has, _ in resources])
    evenness = np.subtract(1, deviation, out=deviation)
    evenness *= MAX_SCORE
    return evenness.astype(np.int64)


def _deviation(fractions: Sequence[Fractions], has: Sequence[Mask]) -> Fractions:
    present: Any = sum(there.astype(np.int64) for there in has)
    divisor = np.maximum(present, 1)
    total: Fractions = np.zeros(len(present))
    highest: Fractions = np.zeros(len(present))
    lowest: Fractions = np.ones(len(present))
    for fraction, there in zip(fractions, has, strict=True):
        total = total + np.where(there, fraction, 0.0)
        highest = np.maximum(highest, np.where(there, fraction, 0.0))
        lowest = np.minimum(lowest, np.where(there, fraction, 1.0))
    mean = total / divisor
    squares: Fractions = np.zeros(len(present))
    for fraction, there in zip(fractions, has, strict=True):
        squares = squares + np.where(there, (fraction - mean) * (fraction - mean), 0.0)
    of_pair = np.where(present == 2, (highest - lowest) / 2, 0.0)
    return np.where(present > 2, np.sqrt(squares / divisor), of_pair)
