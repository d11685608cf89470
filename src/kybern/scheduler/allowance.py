"""A bound on the part of the scheduler's time that looking at itself may take."""

from collections.abc import Callable


class Allowance:
    """A share of the time that passes, saved up to a limit and spent by working."""

    def __init__(self, now: Callable[[], float], share: float, saved: float) -> None:
        self._now = now
        self._share = share
        self._most = self._left = saved
        self._seen = now()

    @property
    def is_left(self) -> bool:
        seen, self._seen = self._seen, self._now()
        self._left = min(self._most, self._left + (self._seen - seen) * self._share)
        return self._left > 0

    def spend(self) -> None:
        """Count the time since ``is_left`` was asked."""
        self._left -= self._now() - self._seen
