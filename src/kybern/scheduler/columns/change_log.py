"""What changed, in order, for readers that each remember how far they have read.

The node table logs the rows that changed and pod classes read with ``since(position)``; counters
log what was added to a row, for those who sum them up. A reader that fell behind the kept window
gets None and rebuilds. The log keeps at most ``2 * limit`` entries.
"""

from typing import Generic, TypeVar

LIMIT = 16_384

Entry = TypeVar("Entry")


class ChangeLog(Generic[Entry]):
    """An append-only log with a moving start."""

    __slots__ = ("_entries", "_limit", "_start")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._entries: list[Entry] = []
        self._start = 0

    @property
    def end(self) -> int:
        """The position of a reader that has seen everything."""
        return self._start + len(self._entries)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > 2 * self._limit:
            del self._entries[: self._limit]
            self._start += self._limit

    def since(self, position: int) -> list[Entry] | None:
        """The entries after ``position`` (repeats possible), or None if they are gone."""
        if position < self._start:
            return None
        return self._entries[position - self._start :]

    def forget(self) -> None:
        """More changed than entries can say: every reader rebuilds."""
        self._start = self.end + 1
        self._entries.clear()
