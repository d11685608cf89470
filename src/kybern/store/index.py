"""The state of a store in memory: live entries by key, and a window of the latest changes.

The memory store is this index and nothing more; the SQLite store keeps it beside its file, so that
reads and guards never touch the disk. A past revision is read by undoing the window's changes from
the newest back. The window is bounded by its number of changes and by the bytes that only it keeps
alive; ``floor`` is the oldest revision that it can still show.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from itertools import islice

from kybern.store.interface import Change, Entry, FutureRevision, Page


class Index:
    """Entries and recent changes; single-threaded, and every method is synchronous."""

    def __init__(self, revision: int, *, max_changes: int, max_bytes: int) -> None:
        self.revision = revision
        self.floor = revision
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._window: deque[Change] = deque()
        self._window_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def apply(self, key: str, entry: Entry | None, revision: int) -> Change:
        """Make one committed change visible; revisions come in growing order."""
        assert revision > self.revision, "revisions only grow"
        change = Change(revision, key, entry, self._entries.get(key))
        self.restore(key, entry)
        self.revision = revision
        self._window.append(change)
        self._window_bytes += _kept_bytes(change)
        while len(self._window) > self._max_changes or self._window_bytes > self._max_bytes:
            self._drop_oldest()
        return change

    def restore(self, key: str, entry: Entry | None) -> None:
        """Set a key without recording a change, as when a file is loaded."""
        if entry is None:
            if self._entries.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._entries:
            insort(self._keys, key)
        self._entries[key] = entry

    def start_at(self, revision: int) -> None:
        """Take ``revision`` as the present, after restoring what was live then."""
        self.revision = max(self.revision, revision)
        self.floor = self.revision

    def forget_before(self, revision: int) -> None:
        """Drop the changes up to ``revision``; reads at ``revision`` still work."""
        while self._window and self._window[0].revision <= revision:
            self._drop_oldest()
        self.floor = max(self.floor, min(revision, self.revision))

    def changes_after(self, revision: int, prefix: str) -> list[Change]:
        """The changes above ``revision`` in order; ``revision`` must not be below ``floor``."""
        assert revision >= self.floor, "the window does not reach back that far"
        found: list[Change] = []
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            if change.key.startswith(prefix):
                found.append(change)
        found.reverse()
        return found

    def get_at(self, key: str, revision: int) -> Entry | None:
        """A key's value at a past revision that is not below ``floor``."""
        return self._undone(key, revision).get(key, self._entries.get(key))

    def page(self, prefix: str, start: str, limit: int, revision: int) -> Page:
        """Entries under ``prefix`` at ``revision`` (0: now), which is not below ``floor``."""
        if revision > self.revision:
            raise FutureRevision(f"revision {revision} is above {self.revision}")
        keys: Sequence[str] = self._live_keys(prefix, start)
        entries = self._entries
        if revision and revision < self.revision:
            undone = self._undone(prefix, revision)
            keys, entries = self._as_of(keys, max(prefix, start), undone)
        chosen = list(islice(keys, limit)) if limit else keys
        return Page(
            [entries[key] for key in chosen], revision or self.revision, len(keys) - len(chosen)
        )

    def _live_keys(self, prefix: str, start: str) -> list[str]:
        low = bisect_left(self._keys, max(prefix, start))
        return self._keys[low : bisect_left(self._keys, prefix_end(prefix), low)]

    def _undone(self, prefix: str, revision: int) -> dict[str, Entry | None]:
        """What the keys that changed after ``revision`` held at ``revision``."""
        assert revision >= self.floor, "the window does not reach back that far"
        undone: dict[str, Entry | None] = {}
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            if change.key.startswith(prefix):
                undone[change.key] = change.previous
        return undone

    def _as_of(
        self, keys: Sequence[str], start: str, undone: dict[str, Entry | None]
    ) -> tuple[list[str], dict[str, Entry]]:
        entries: dict[str, Entry] = {}
        for key in keys:
            if key not in undone:
                entries[key] = self._entries[key]
        for key, entry in undone.items():
            if entry is not None and key >= start:
                entries[key] = entry
        return sorted(entries), entries

    def _drop_oldest(self) -> None:
        change = self._window.popleft()
        self._window_bytes -= _kept_bytes(change)
        self.floor = change.revision


def prefix_end(prefix: str) -> str:
    """The first key after all keys that start with ``prefix``; above every key if it is empty."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\U0010ffff"


def _kept_bytes(change: Change) -> int:
    """The bytes that stay in memory because of this change: the value that it replaced."""
    return len(change.previous.value) if change.previous else 0
