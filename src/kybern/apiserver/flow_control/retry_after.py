"""How long clients that are turned away are told to stay away: doubled while they keep coming.

Upstream's rule, per priority level: three refusals for each second of the present value double it
(at most once in that time), and fewer than one a second take a second off.
"""

from collections import deque

LONGEST_SECONDS = 32


class RetryAfter:
    """The value for one priority level, and the refusals that it goes by."""

    def __init__(self) -> None:
        self.seconds = 1
        self._history: deque[tuple[int, int]] = deque()
        self._second = self._refused = 0
        self._raised_at = 0

    def refused(self, now: float) -> int:
        """Count a refusal; the value that its response carries."""
        second = int(now)
        if second == self._second:
            self._refused += 1
            return self.seconds
        self._history.append((self._second, self._refused))
        longest = min(2 * self.seconds, LONGEST_SECONDS)
        while self._history and second - self._history[0][0] > longest:
            self._history.popleft()
        self._second, self._refused = second, 1
        self._judge(second)
        return self.seconds

    def _judge(self, now: int) -> None:
        value = self.seconds
        recent = sum(count for second, count in self._history if now - second <= value)
        if recent >= 3 * value and now - self._raised_at >= value:
            self.seconds = min(2 * value, LONGEST_SECONDS)
            self._raised_at = now
        elif recent < value and value > 1:
            self.seconds -= 1
