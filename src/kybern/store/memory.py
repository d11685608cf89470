"""The store of tests and of virtual time: etcd's model in this process's memory, no threads.

Every operation completes without waiting, so a run on virtual time is deterministic. The history
is bounded: beyond the limits below the oldest changes are compacted, as if someone had asked.
"""

from collections.abc import AsyncIterator, Sequence

from kybern.store.compaction import compact_alone
from kybern.store.interface import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    Page,
    Progressed,
    RevisionMismatch,
    StoreClosed,
)
from kybern.store.streams import Streams
from kybern.store.timeline import Timeline

MAX_HISTORY_CHANGES = 200_000
MAX_HISTORY_BYTES = 256 * 1024 * 1024

# etcd answers 1 before anything is written, and clients take 0 for "any".
FIRST_REVISION = 1


class MemoryStore:
    """A :class:`~kybern.store.interface.Store` that forgets everything when the process ends."""

    shared = False
    problem = ""

    def __init__(
        self,
        *,
        max_history_changes: int = MAX_HISTORY_CHANGES,
        max_history_bytes: int = MAX_HISTORY_BYTES,
    ) -> None:
        self._state: Timeline[Entry, Change] = Timeline(
            FIRST_REVISION,
            lambda entry: len(entry.value),
            max_steps=max_history_changes,
            max_bytes=max_history_bytes,
        )
        self._streams = Streams(FIRST_REVISION, self._history)
        self._closed = False

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> Entry:
        self._check_open()
        current = self._state.get(key)
        if current is not None:
            raise RevisionMismatch(current)
        revision = self._state.revision + 1
        entry = Entry(key, value, revision, revision)
        self._commit(key, entry, revision)
        return entry

    async def update(self, key: str, value: bytes, mod_revision: int, *, ttl: int = 0) -> Entry:
        current = self._guard(key, mod_revision)
        revision = self._state.revision + 1
        entry = Entry(key, value, current.create_revision, revision)
        self._commit(key, entry, revision)
        return entry

    async def delete(self, key: str, mod_revision: int) -> Entry:
        current = self._guard(key, mod_revision)
        revision = self._state.revision + 1
        self._commit(key, None, revision)
        return Entry(key, current.value, current.create_revision, revision)

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        self._check_revision(revision)
        if not revision or revision == self._state.revision:
            return self._state.get(key)
        return self._state.get_at(key, revision)

    async def list(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        self._check_revision(revision)
        entries = self._state.range(prefix, start, revision)
        chosen = entries[:limit] if limit else entries
        return Page(chosen, revision or self._state.revision, len(entries) - len(chosen))

    def watch(
        self, prefix: str, after_revision: int, progressed: Progressed | None = None
    ) -> AsyncIterator[Change]:
        if after_revision < self._state.floor:
            raise Compacted(self._state.floor)
        return self._streams.open(prefix, after_revision)

    async def nudge(self) -> None:
        """Nothing changes elsewhere."""

    async def revision(self) -> int:
        self._check_open()
        return self._state.revision

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._state.revision:
            raise FutureRevision(f"revision {revision} is above {self._state.revision}")
        self._state.forget_before(revision)

    def compactions(self, interval: float) -> AsyncIterator[int]:
        return compact_alone(self, interval)

    async def close(self) -> None:
        self._closed = True
        self._streams.close()

    def _guard(self, key: str, mod_revision: int) -> Entry:
        """The live entry, if its modification revision is the one expected."""
        self._check_open()
        current = self._state.get(key)
        if current is None or current.mod_revision != mod_revision:
            raise RevisionMismatch(current)
        return current

    def _commit(self, key: str, entry: Entry | None, revision: int) -> None:
        change = Change(revision, key, entry, self._state.get(key))
        self._state.apply(change)
        self._streams.publish(change)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    def _check_revision(self, revision: int) -> None:
        self._check_open()
        if revision and revision < self._state.floor:
            raise Compacted(self._state.floor)
        if revision > self._state.revision:
            raise FutureRevision(f"revision {revision} is above {self._state.revision}")

    async def _history(self, prefix: str, revision: int) -> tuple[Sequence[Change], int]:
        if revision < self._state.floor:
            raise Compacted(self._state.floor)
        return self._state.steps_after(revision, prefix), self._state.revision
