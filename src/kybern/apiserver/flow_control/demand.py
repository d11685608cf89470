"""How many seats a priority level would use if it had as many as it wants, over time.

The demand is what is in use plus what waits. Borrowing goes by its average, its spread, its peak,
and a smoothed figure that rises at once and falls by half in five minutes.
"""

import math

PERIOD_SECONDS = 10.0
_SMOOTHING = 0.977


class SeatDemand:
    """Integrates the demand between two adjustments; the results are those of the last period."""

    __slots__ = (
        "_integral",
        "_peak",
        "_seconds",
        "_squares",
        "average",
        "deviation",
        "high_watermark",
        "smoothed",
    )

    def __init__(self) -> None:
        self._seconds = self._integral = self._squares = 0.0
        self._peak = 0
        self.high_watermark = 0
        self.average = self.deviation = self.smoothed = 0.0

    def pass_time(self, seconds: float, seats: int) -> None:
        """The demand has been ``seats`` for so long."""
        self._seconds += seconds
        weighted = seats * seconds
        self._integral += weighted
        self._squares += seats * weighted

    def reach(self, seats: int) -> None:
        """The demand has risen to ``seats``."""
        if seats > self._peak:
            self._peak = seats

    def settle(self, seats: int) -> None:
        """End the period, and begin the next with a demand of ``seats``."""
        self.high_watermark, self._peak = self._peak, seats
        seconds = self._seconds
        if seconds <= 0:
            return
        self.average = self._integral / seconds
        variance = self._squares / seconds - self.average**2
        self.deviation = math.sqrt(variance) if variance > 0 else 0.0
        envelope = self.average + self.deviation
        # A server that nobody asks anything skips adjustments, so a period may be a long one.
        keep = _SMOOTHING ** (seconds / PERIOD_SECONDS)
        self.smoothed = max(envelope, keep * self.smoothed + (1 - keep) * envelope)
        self._seconds = self._integral = self._squares = 0.0
