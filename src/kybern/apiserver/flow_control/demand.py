"""How many seats a priority level would use if it had as many as it wants, over time.

The demand is what is in use plus what waits. Borrowing goes by its average, its spread, its peak,
and a smoothed figure that rises at once and falls by half in five minutes.
"""

import math

PERIOD_SECONDS = 10.0
_SMOOTHING = 0.977


class SeatDemand:
    """The results of the last period, and the sums of the present one.

    Who knows the demand adds to ``integral`` and ``squares``, for every time span, the seats and
    their square times its seconds, and raises ``peak``: this happens twice a request, too often
    for a call.
    """

    __slots__ = (
        "_since",
        "average",
        "deviation",
        "high_watermark",
        "integral",
        "peak",
        "smoothed",
        "squares",
    )

    def __init__(self, now: float) -> None:
        self._since = now
        self.integral = self.squares = 0.0
        self.peak = 0
        self.high_watermark = 0
        self.average = self.deviation = self.smoothed = 0.0

    def settle(self, seats: int, now: float) -> None:
        """End the period, and begin the next with a demand of ``seats``."""
        self.high_watermark, self.peak = self.peak, seats
        seconds = now - self._since
        if seconds <= 0:
            return
        self.average = self.integral / seconds
        variance = self.squares / seconds - self.average**2
        self.deviation = math.sqrt(variance) if variance > 0 else 0.0
        envelope = self.average + self.deviation
        # A server that nobody asks anything skips adjustments, so a period may be a long one.
        keep = _SMOOTHING ** (seconds / PERIOD_SECONDS)
        self.smoothed = max(envelope, keep * self.smoothed + (1 - keep) * envelope)
        self.integral = self.squares = 0.0
        self._since = now
