"""How NodeResourcesFit turns fullness into a score: spread, pack, or follow a shape."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Values, cells_of
from kybern.scheduler.plugin import MAX_SCORE, Basis, Score
from kybern.scheduler.plugins.resource_scoring import ScoredResource

MAX_SHAPE_SCORE = 10

# Below this, a quotient that is not whole stays apart from the next whole number in a float64.
EXACT_IN_FLOATS = 2**53


class _Allocation(Score):
    """The weighted integer mean of one score a resource, over resources the node has."""

    basis = Basis.USAGE

    def __init__(self, resources: Sequence[ScoredResource]) -> None:
        self._resources = tuple(resources)

    def one(self, used: int, allocatable: int) -> int:
        raise NotImplementedError

    def many(self, used: Values, allocatable: Values) -> Values:
        """As ``one``; ``allocatable`` is never 0."""
        raise NotImplementedError

    def raw_one(self, row: int) -> int:
        total = weights = 0
        for allocatable, used, asked, weight in self._resources:
            has = allocatable.cells[row]
            if has:
                total += self.one(used.cells[row] + asked, has) * weight
                weights += weight
        return total // weights if weights else 0

    def raw(self, rows: Any) -> Values:
        total: Any = 0
        weights: Any = 0
        for allocatable, used, asked, weight in self._resources:
            has = allocatable.values[rows]
            scores = self.many(used.values[rows] + asked, np.maximum(has, 1))
            total = total + np.where(has != 0, scores * weight, 0)
            weights = weights + np.where(has != 0, weight, 0)
        return floor_ratio(total, np.maximum(weights, 1))


class LeastAllocated(_Allocation):
    """The share that stays free."""

    def one(self, used: int, allocatable: int) -> int:
        return (allocatable - used) * MAX_SCORE // allocatable if used <= allocatable else 0

    def many(self, used: Values, allocatable: Values) -> Values:
        return floor_ratio(np.maximum(allocatable - used, 0) * MAX_SCORE, allocatable)


class MostAllocated(_Allocation):
    """The share that is in use."""

    def one(self, used: int, allocatable: int) -> int:
        return min(used, allocatable) * MAX_SCORE // allocatable

    def many(self, used: Values, allocatable: Values) -> Values:
        return floor_ratio(np.minimum(used, allocatable) * MAX_SCORE, allocatable)


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

    def many(self, used: Values, allocatable: Values) -> Values:
        return self._table[np.where(used > allocatable, 100, used * 100 // allocatable)]

    def raw_one(self, row: int) -> int:
        return int(self.raw(np.array([row], dtype=np.intp))[0])

    def raw(self, rows: Any) -> Values:
        total: Any = 0
        weights: Any = 0
        for allocatable, used, asked, weight in self._resources:
            has = allocatable.values[rows]
            scores = self.many(used.values[rows] + asked, np.maximum(has, 1))
            counts = (has != 0) & (scores > 0)
            total = total + np.where(counts, scores * weight, 0)
            weights = weights + np.where(counts, weight, 0)
        # Halves round up: scores are never negative.
        result: Values = np.floor(total / np.maximum(weights, 1) + 0.5).astype(np.int64)
        return result


def floor_ratio(numerator: Values, denominator: Values) -> Values:
    """``numerator // denominator`` for numbers that are not negative, by floats where these are
    exact: several times faster than numpy's integer division."""
    if len(numerator) and int(numerator.max()) + int(denominator.max()) < EXACT_IN_FLOATS:
        return (numerator / denominator).astype(np.int64)
    return numerator // denominator


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
