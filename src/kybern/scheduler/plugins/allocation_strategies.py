"""How NodeResourcesFit turns fullness into a score: spread, pack, or follow a shape."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Values, cells_of
from kybern.scheduler.plugin import MAX_SCORE, Basis, Score
from kybern.scheduler.plugins.resource_scoring import ScoredResource

MAX_SHAPE_SCORE = 10

# Below this, a quotient of percents that is not whole stays apart from the next whole number in a
# float64.
EXACT_IN_FLOATS = 2**53 // (MAX_SCORE + 1)


class _Allocation(Score):
    """The weighted integer mean of one score a resource, over resources the node has; at least one
    resource counts."""

    basis = Basis.USAGE

    def __init__(self, resources: Sequence[ScoredResource]) -> None:
        self.key = self._resources = tuple(resources)

    def one(self, used: int, allocatable: int) -> int:
        raise NotImplementedError

    def many(self, used: Values, allocatable: Values) -> Values:
        """As ``one``; ``allocatable`` is never 0, and ``used`` may be overwritten. The result is a
        fresh array or ``used``."""
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
        total: Values = np.zeros_like(self._resources[0].allocatable.values[rows])
        weights: Any = 0
        for allocatable, used, asked, weight in self._resources:
            has = allocatable.values[rows]
            is_everywhere = bool(has.all())
            scores = self.many(
                used.values[rows] + asked, has if is_everywhere else np.maximum(has, 1)
            )
            if weight != 1:
                scores *= weight
            if not is_everywhere:
                scores *= has != 0
                weight = weight * (has != 0)
            total += scores
            weights = weights + weight
        total //= weights if isinstance(weights, int) else np.maximum(weights, 1)
        return total


class LeastAllocated(_Allocation):
    """The share that stays free."""

    def one(self, used: int, allocatable: int) -> int:
        return (allocatable - used) * MAX_SCORE // allocatable if used <= allocatable else 0

    def many(self, used: Values, allocatable: Values) -> Values:
        free = np.subtract(allocatable, used, out=used)
        return percent(np.maximum(free, 0, out=free), allocatable)


class MostAllocated(_Allocation):
    """The share that is in use."""

    def one(self, used: int, allocatable: int) -> int:
        return min(used, allocatable) * MAX_SCORE // allocatable

    def many(self, used: Values, allocatable: Values) -> Values:
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


def percent(part: Values, whole: Values) -> Values:
    """``100 * part // whole`` for parts from 0 to the whole; overwrites ``part``. Floats are used
    where they are exact: several times faster than numpy's integer division."""
    part *= MAX_SCORE
    if len(whole) and int(whole.max()) < EXACT_IN_FLOATS:
        return (part / whole).astype(np.int64)
    return part // whole


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
