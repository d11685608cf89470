"""Which rows changed, in order, for readers that each remember how far they have read.

The node table writes; pod classes read with ``since(position)``. A reader that fell behind the kept
window gets None and rebuilds. The log keeps at most ``2 * LIMIT`` rows.
"""

LIMIT = 16_384


class ChangeLog:
    """An append-only log of row numbers with a moving start."""

    __slots__ = ("_rows", "_start")

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._start = 0

    @property
    def end(self) -> int:
        """The position of a reader that has seen everything."""
        return self._start + len(self._rows)

    def append(self, row: int) -> None:
        self._rows.append(row)
        if len(self._rows) > 2 * LIMIT:
            del self._rows[:LIMIT]
            self._start += LIMIT

    def since(self, position: int) -> list[int] | None:
        """The rows after ``position`` (repeats possible), or None if they are gone."""
        if position < self._start:
            return None
        return self._rows[position - self._start :]
