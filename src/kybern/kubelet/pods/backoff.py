"""Exponential back-off per key, as crash loops and image pulls use it.

A key that stayed quiet for twice the longest wait starts again from the shortest one.
"""

from collections import OrderedDict
from dataclasses import dataclass

MAX_KEYS = 8192


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class Backoff:
    """Delays from ``initial`` doubling to ``longest`` seconds; times are epoch seconds."""

    def __init__(self, initial: float, longest: float) -> None:
        self._initial = initial
        self._longest = longest
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def delay(self, key: str) -> float:
        """The present delay of a key, 0 if it never failed."""
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def remaining(self, key: str, since: float, now: float) -> float:
        """Seconds that are left to wait when the last failure was at ``since``."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > 2 * self._longest:
            return 0.0
        return max(0.0, since + entry.delay - now)

    def remaining_since_failure(self, key: str, now: float) -> float:
        """Seconds that are left to wait after the last counted failure."""
        entry = self._entries.get(key)
        return 0.0 if entry is None else self.remaining(key, entry.updated, now)

    def failed(self, key: str, now: float) -> None:
        """Count a failure: the next wait is twice as long."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > 2 * self._longest:
            self._entries[key] = _Entry(self._initial, now)
        else:
            entry.delay = min(entry.delay * 2, self._longest)
            entry.updated = now
        self._entries.move_to_end(key)
        if len(self._entries) > MAX_KEYS:
            self._entries.popitem(last=False)

    def forget(self, prefix: str) -> None:
        """Drop all keys that start with ``prefix``: their pod is gone."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]
