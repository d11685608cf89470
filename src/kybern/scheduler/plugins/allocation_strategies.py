"""How NodeResourcesFit turns fullness into a score: spread, pack, or follow a shape."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Values, cells_of
from kybern.scheduler.columns.divisor import Fractions
from kybern.scheduler.plugin import MAX_SCORE, Basis, Score
from kybern.scheduler.plugins.resource_scoring import ScoredResource

MAX_SHAPE_SCORE = 10


class _Allocation(Score):
    """The weighted integer mean of one score a resource, over resources the node has; at least one
    resource counts."""

    basis = Basis.USAGE

    def __init__(self, resources: Sequence[ScoredResource]) -> None:
        self.key = self._resources = tuple(resources)

    def one(self, used: int, allocatable: int) -> int:
        raise NotImplementedError

    def many(self, used: Fractions, allocatable: Fractions) -> Fractions:
        """As ``one``, in whole floats; ``allocatable`` is never 0, ``used`` may be overwritten."""
        raise NotImplementedError

    def raw_one(self, row: int) -> int:
        total = weights = 0
        for allocatable, used, asked, weight, _ in self._resources:
            has = allocatable.cells[row]
            if has:
                total += self.one(used.cells[row] + asked, has) * weight
                weights += weight
        return total // weights if weights else 0

    def raw(self, rows: Any) -> Values:
        if not all(resource.divisor.refresh().is_exact for resource in self._resources):
            return super().raw(rows)
        total: Any = 0
        weights: Any = 0
        for allocatable, used, asked, weight, divisor in self._resources:
            taken = used.values[rows].astype(np.float64)
            taken += asked
            scores = self.many(taken, divisor.values[rows])
            if weight != 1:
                scores *= weight
            if not divisor.is_everywhere:
                is_there = allocatable.values[rows] != 0
                scores *= is_there
                weight = weight * is_there
            total = total + scores
            weights = weights + weight
        result: Values = total.astype(np.int64)
        if not isinstance(weights, int):
            result //= np.maximum(weights, 1)
        elif weights == 2:
            # Two resources that weigh the same are the usual, and shifting is faster.
            result >>= 1
        else:
            result //= weights
        return result


class LeastAllocated(_Allocation):
    """The share that stays free."""

    def one(self, used: int, allocatable: int) -> int:
        return (allocatable - used) * MAX_SCORE // allocatable if used <= allocatable else 0

    def many(self, used: Fractions, allocatable: Fractions) -> Fractions:
        free = np.subtract(allocatable, used, out=used)
        return percent(np.maximum(free, 0, out=free), allocatable)


class MostAllocated(_Allocation):
    """The share that is in use."""

    def one(self, used: int, allocatable: int) -> int:
        return min(used, allocatable) * MAX_SCORE // allocatable

    def many(self, used: Fractions, allocatable: Fractions) -> Fractions:
        return percent(np.minimum(used, allocatable, out=used), allocatable)


class RequestedToCapacityRatio(_Allocation):
    """A broken line from utilization (0-100) to score; resources that score 0 do not count."""

    def __init__(
        self, resources: Sequence[ScoredResource], shape: Sequence[tuple[int, int]]
    ) -> None:
        super().__init__(resources)
        scale = MAX_SCORE // MAX_SHAPE_SCORE
        line = broken_line([(utilization, score * scale) for utilization, score in shape])
        self._table: Values = np.array([line(p) for p in range(101)], dtype=np.int64)
        self._cells = cells_of(self._table)

    def one(self, used: int, allocatable: int) -> int:
        return self._cells[100 if used > allocatable else used * 100 // allocatable]

    def raw_one(self, row: int) -> int:
        return int(self.raw(np.array([row], dtype=np.intp))[0])

    def raw(self, rows: Any) -> Values:
        total: Any = 0
        weights: Any = 0
        for allocatable, used, asked, weight, _ in self._resources:
            has, taken = allocatable.values[rows], used.values[rows] + asked
            percents = taken * 100 // np.maximum(has, 1)
            scores = self._table[np.where(taken > has, 100, percents)]
            counts = (has != 0) & (scores > 0)
            total = total + np.where(counts, scores * weight, 0)
            weights = weights + np.where(counts, weight, 0)
        # Halves round up: scores are never negative.
        result: Values = np.floor(total / np.maximum(weights, 1) + 0.5).astype(np.int64)
        return result


def percent(part: Fractions, whole: Fractions) -> Fractions:
    """``100 * part // whole`` for parts from 0 to the whole; overwrites ``part``."""
    part *= MAX_SCORE
    part /= whole
    return np.floor(part, out=part)


def broken_line(points: Sequence[tuple[int, int]]) -> Callable[[int], int]:
    """Linear between points, constant outside; integer division truncates towards zero."""

    def value(at: int) -> int:
        for index, (x, y) in enumerate(points):
            if at <= x:
                if index == 0:
                    return y
                x0, y0 = points[index - 1]
                rise = (y - y0) * (at - x0)
                steps = abs(rise) // (x - x0)
                return y0 + (steps if rise >= 0 else -steps)
        return points[-1][1] if points else 0

    return value
