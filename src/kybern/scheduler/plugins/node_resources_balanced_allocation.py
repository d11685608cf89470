"""NodeResourcesBalancedAllocation: prefer nodes that the pod makes evener in cpu and memory.

The score is 50 + (50 + evenness with the pod - evenness without it) / 2, as upstream since 1.36.
Best-effort pods have no opinion.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Column, Mask, Values
from kybern.scheduler.columns.divisor import Fractions
from kybern.scheduler.columns.row_cache import RowCache
from kybern.scheduler.plugin import MAX_SCORE, Basis, Plugin, Score, row_numbers
from kybern.scheduler.plugins.resource_scoring import (
    ScoredResource,
    resource_specs,
    scored_resources,
)
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]


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
            empty = [one._replace(asked=0) for one in resources]
            before = self._before[columns] = RowCache(
                nodes,
                lambda rows: _evenness_over(empty, rows),
                lambda row: _evenness_at(empty, row),
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
        for allocatable, used, asked, _, _ in self._resources:
            has, taken = allocatable.cells[row], used.cells[row]
            if has:
                before.append(min(taken / has, 1.0))
                after.append(min((taken + asked) / has, 1.0))
        return _combine(_evenness(after), _evenness(before))

    def raw(self, rows: Any) -> Values:
        scores = _evenness_over(self._resources, rows)
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


def _evenness_at(resources: Sequence[ScoredResource], row: int) -> int:
    """How even the shares in use are; a resource that a node does not have is left out."""
    shares = [
        min((used.cells[row] + asked) / has, 1.0)
        for allocatable, used, asked, _, _ in resources
        if (has := allocatable.cells[row])
    ]
    return _evenness(shares)


def _evenness(shares: Sequence[float]) -> int:
    """100 when all shares are equal, less the more they differ."""
    deviation = 0.0
    if len(shares) == 2:
        deviation = abs((shares[0] - shares[1]) / 2)
    elif len(shares) > 2:
        mean = sum(shares) / len(shares)
        deviation = math.sqrt(sum((f - mean) * (f - mean) for f in shares) / len(shares))
    return int((1 - deviation) * MAX_SCORE)


def _evenness_over(resources: Sequence[ScoredResource], rows: Any) -> Values:
    """As ``_evenness_at`` over rows."""
    if not all(resource.divisor.refresh().is_exact for resource in resources):
        return np.array([_evenness_at(resources, row) for row in row_numbers(rows)], dtype=np.int64)
    shares: list[Fractions] = []
    for _, used, asked, _, divisor in resources:
        share = used.values[rows].astype(np.float64)
        share += asked
        share /= divisor.values[rows]
        shares.append(np.minimum(share, 1.0, out=share))
    if len(shares) == 2 and all(resource.divisor.is_everywhere for resource in resources):
        deviation = np.subtract(shares[0], shares[1], out=shares[0])
        deviation *= 0.5
        np.abs(deviation, out=deviation)
    else:
        deviation = _deviation(shares, [one.allocatable.values[rows] != 0 for one in resources])
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
