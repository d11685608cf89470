"""Live values by key and a window of the latest changes: the state of a store, or of a cache.

The memory store is one timeline and nothing more; the SQLite store keeps one beside its file, so
that reads and guards never touch the disk; each resource of the watch cache is one. A past revision
is read by undoing the window's changes from the newest back. The window is bounded by its number of
changes and by the bytes of the values that only it keeps alive; ``floor`` is the oldest revision
that it can still show.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Step(Protocol[V_co]):
    """One change: ``entry`` is None for a deletion, ``previous`` None for a creation."""

    @property
    def revision(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def entry(self) -> V_co | None: ...
    @property
    def previous(self) -> V_co | None: ...


S = TypeVar("S", bound=Step)


class Timeline(Generic[V, S]):
    """Values of type V changed by steps of type S; not for use by several threads."""

    def __init__(
        self, revision: int, size: Callable[[V], int], *, max_steps: int, max_bytes: int
    ) -> None:
        self.revision = revision
        self.floor = revision
        self._size = size
        self._max_steps = max_steps
        self._max_bytes = max_bytes
        self._values: dict[str, V] = {}
        self._keys: list[str] = []
        self._window: deque[S] = deque()
        self._window_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def restore(self, key: str, value: V | None) -> None:
        """Set a key without a step in the window, as when a file is loaded."""
        if value is None:
            if self._values.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._values:
            insort(self._keys, key)
        self._values[key] = value

    def start_at(self, revision: int) -> None:
        """Take ``revision`` as the present, after restoring what was live then."""
        assert revision >= self.revision, "revisions only grow"
        self.revision = revision
        self.floor = revision

    def apply(self, step: S) -> None:
        """Make one committed change visible; revisions come in growing order.

        Changes of one revision come one after the other, without a reader in between.
        """
        assert step.revision >= self.revision, "revisions only grow"
        self.restore(step.key, step.entry)
        self.revision = step.revision
        self._window.append(step)
        self._window_bytes += self._kept_bytes(step)
        while len(self._window) > self._max_steps or self._window_bytes > self._max_bytes:
            self._drop_oldest()

    def forget_before(self, revision: int) -> None:
        """Drop the steps up to ``revision``; reads at ``revision`` still work."""
        while self._window and self._window[0].revision <= revision:
            self._drop_oldest()
        self.floor = max(self.floor, min(revision, self.revision))

    def steps_after(self, revision: int, prefix: str) -> list[S]:
        """The steps above ``revision`` under ``prefix``, in order."""
        found = [step for step in self._newest_first(revision) if step.key.startswith(prefix)]
        found.reverse()
        return found

    def get_at(self, key: str, revision: int) -> V | None:
        """A key's value at a past revision."""
        return self._undone(key, revision).get(key, self._values.get(key))

    def range(self, prefix: str, start: str = "", revision: int = 0) -> Sequence[V]:
        """The values under ``prefix`` from the key ``start`` on, at ``revision`` (0: now)."""
        keys = self.keys(prefix, start)
        values = self._values
        if revision and revision < self.revision:
            undone = self._undone(prefix, revision)
            if undone:
                return self._as_of(keys, max(prefix, start), undone)
        return [values[key] for key in keys]

    def keys(self, prefix: str, start: str = "") -> list[str]:
        """The live keys under ``prefix`` from ``start`` on, in order."""
        low = bisect_left(self._keys, max(prefix, start))
        return self._keys[low : bisect_left(self._keys, prefix_end(prefix), low)]

    def _newest_first(self, revision: int) -> Iterator[S]:
        assert revision >= self.floor, "the window does not reach back that far"
        for step in reversed(self._window):
            if step.revision <= revision:
                return
            yield step

    def _undone(self, prefix: str, revision: int) -> dict[str, V | None]:
        """What the keys that changed after ``revision`` held at ``revision``."""
        return {
            step.key: step.previous
            for step in self._newest_first(revision)
            if step.key.startswith(prefix)
        }

    def _as_of(self, keys: Sequence[str], start: str, undone: dict[str, V | None]) -> list[V]:
        values = {key: self._values[key] for key in keys if key not in undone}
        for key, value in undone.items():
            if value is not None and key >= start:
                values[key] = value
        return [values[key] for key in sorted(values)]

    def _drop_oldest(self) -> None:
        step = self._window.popleft()
        self._window_bytes -= self._kept_bytes(step)
        self.floor = step.revision

    def _kept_bytes(self, step: S) -> int:
        """The bytes that stay in memory because of this step: the value that it replaced."""
        return self._size(step.previous) if step.previous is not None else 0


def prefix_end(prefix: str) -> str:
    """The first key after all keys that start with ``prefix``; above every key if it is empty."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\U0010ffff"
