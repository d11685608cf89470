"""What the nodes have of one resource, as numbers to divide by; kept until facts of nodes change.

Scores of fullness divide by capacities for every row and every class of pods. Floats do that
several times faster than integers, and exactly, as long as amounts are not beyond all measure.
"""

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.columns.change_log import ChangeLog
from kybern.scheduler.columns.column import Column

Fractions = NDArray[np.float64]

# Below this, a hundredfold amount is whole in a float64, and a quotient of percents that is not
# whole stays apart from the next whole number.
EXACT = 2**53 // 101


class Divisor:
    """``values`` has 1 where a row has nothing of the resource."""

    __slots__ = ("_alive", "_allocatable", "_facts", "_seen", "is_everywhere", "is_exact", "values")

    def __init__(self, allocatable: Column, alive: Column, facts: ChangeLog[int]) -> None:
        self._allocatable = allocatable
        self._alive = alive
        self._facts = facts
        self._seen = (-1, -1)
        self.values: Fractions = np.zeros(0)
        self.is_everywhere = False
        self.is_exact = False

    def refresh(self) -> "Divisor":
        """Bring it up to date with the nodes."""
        amounts = self._allocatable.values
        now = (self._facts.end, len(amounts))
        if now != self._seen:
            self._seen = now
            self.values = np.maximum(amounts, 1).astype(np.float64)
            self.is_exact = int(amounts.max()) < EXACT
            self.is_everywhere = bool(amounts[self._alive.values != 0].all())
        return self
