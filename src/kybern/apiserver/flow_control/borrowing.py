"""Seats move from priority levels that do not use them to those that could.

Every level has a lower bound (what it never lends, and what it has lately used of its own), an
upper bound (its own seats and what it may borrow) and a target (what it has lately wanted).
:func:`shares` finds the one proportion of the targets that hands out all seats within the bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_LEAST_TARGET = 0.001


@dataclass(frozen=True, slots=True)
class Claim:
    """One level's claim, with ``0 <= lower <= target`` and ``lower <= upper``."""

    lower: float
    upper: float
    target: float

    def at(self, proportion: float) -> float:
        """What the level gets where everybody gets this proportion of their targets."""
        return max(self.lower, min(self.upper, proportion * self.divisor))

    @property
    def divisor(self) -> float:
        return max(self.target, _LEAST_TARGET)


def shares(total: float, claims: Sequence[Claim]) -> tuple[list[float], float]:
    """What each claim gets out of ``total``, and the proportion of its target that this is.

    Where the bounds do not allow the total, everybody gets the bound that is nearest to it.
    """
    # Between two neighbouring corners the sum of all shares is a straight line.
    corners = {claim.lower / claim.divisor for claim in claims}
    corners |= {claim.upper / claim.divisor for claim in claims}
    before, sum_before = 0.0, sum(claim.at(0.0) for claim in claims)
    proportion = before
    for corner in sorted(corners):
        if sum_before >= total:
            break
        sum_here = sum(claim.at(corner) for claim in claims)
        if sum_here >= total:
            part = (total - sum_before) / (sum_here - sum_before)
            proportion = before + part * (corner - before)
            break
        before, sum_before = corner, sum_here
        proportion = corner
    return [claim.at(proportion) for claim in claims], proportion
