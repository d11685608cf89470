"""The embedded store: an append log in one SQLite file, its state in memory.

A write is checked against the state in memory, gets the next revision, and goes to the writer
thread (``writer.py``), which commits all that gathered meanwhile at once; when the commit is on the
disk the change becomes visible to reads and watches and the write returns. Two writes of one key
never overlap: the second waits until the first is settled. Reads of revisions that the window in
memory no longer holds go to the file, on a thread of their own.

A full or read-only disk fails the writes that need it and nothing else; a disk that fails while it
syncs leaves unknown what it holds, so then the store closes.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw

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
from kybern.store.sqlite_file import SqliteFile, SqliteReader
from kybern.store.streams import Streams
from kybern.store.timeline import Timeline
from kybern.store.writer import Write, Writer

log = logging.getLogger(__name__)

MAX_WINDOW_CHANGES = 50_000
MAX_WINDOW_BYTES = 64 * 1024 * 1024

# Writes that wait for the disk; beyond it writers wait for their turn.
MAX_WRITES_UNDER_WAY = 10_000

# Changes compacted in one transaction, between which other writes get their turn.
COMPACTION_BATCH = 500
HISTORY_PAGE = 1_000


class SqliteStore:
    """A :class:`~kybern.store.interface.Store` in a file; one process at a time."""

    shared = False
    problem = ""

    def __init__(
        self,
        file: SqliteFile,
        *,
        max_window_changes: int = MAX_WINDOW_CHANGES,
        max_window_bytes: int = MAX_WINDOW_BYTES,
    ) -> None:
        self._file = file
        self._state: Timeline[Entry, Change] = Timeline(
            0,
            lambda entry: len(entry.value),
            max_steps=max_window_changes,
            max_bytes=max_window_bytes,
        )
        self._load()
        self._assigned = self._state.revision
        self._streams = Streams(self._state.revision, self._history)
        self._under_way: dict[str, Write] = {}
        self._room: asyncio.Event | None = None
        self._compacting = asyncio.Lock()
        self._writer: Writer | None = None
        self._reader: SqliteReader | None = None
        self._reader_thread: ThreadPoolExecutor | None = None
        self._why_closed = ""
        self._released = False

    @classmethod
    def open(cls, path: str | Path, *, vfs: str = "", **limits: int) -> "SqliteStore":
        """Open or create the file and load it; raises StoreClosed saying why it cannot."""
        file = SqliteFile(Path(path), vfs)
        try:
            return cls(file, **limits)
        except apsw.Error as error:
            file.close()
            raise StoreClosed(f"{path} cannot be read: {error}") from error

    def _load(self) -> None:
        """Rebuild the state from the log: what was live at the compaction, then the changes."""
        self._compacted = self._file_compacted = self._file.compacted_revision()
        rows = self._file.rows()
        state = self._state
        started = False
        for row in rows:
            if row.revision > self._compacted:
                if not started:
                    started = True
                    state.start_at(self._compacted)
                previous = state.get(row.key)
                state.apply(Change(row.revision, row.key, row.entry(), previous))
            else:
                state.restore(row.key, row.entry())
        if not started:
            state.start_at(self._compacted)

    # Writing

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> Entry:
        current = await self._settled(key)
        if current is not None:
            raise RevisionMismatch(current)
        revision = self._next_revision()
        entry = Entry(key, value, revision, revision)
        return await self._write(Change(revision, key, entry, None), entry)

    async def update(self, key: str, value: bytes, mod_revision: int, *, ttl: int = 0) -> Entry:
        current = await self._guarded(key, mod_revision)
        revision = self._next_revision()
        entry = Entry(key, value, current.create_revision, revision)
        return await self._write(Change(revision, key, entry, current), entry)

    async def delete(self, key: str, mod_revision: int) -> Entry:
        current = await self._guarded(key, mod_revision)
        revision = self._next_revision()
        last = Entry(key, current.value, current.create_revision, revision)
        return await self._write(Change(revision, key, None, current), last)

    async def _guarded(self, key: str, mod_revision: int) -> Entry:
        current = await self._settled(key)
        if current is None or current.mod_revision != mod_revision:
            raise RevisionMismatch(current)
        return current

    async def _settled(self, key: str) -> Entry | None:
        """The key's entry, once no write of it is under way and there is room for another.

        From its return to the write that follows nothing is awaited, so the answer still holds.
        """
        while True:
            self._check_open()
            under_way = self._under_way.get(key)
            if under_way is not None:
                if under_way.settled is None:
                    under_way.settled = asyncio.get_running_loop().create_future()
                await asyncio.shield(under_way.settled)
            elif len(self._under_way) >= MAX_WRITES_UNDER_WAY:
                self._room = self._room or asyncio.Event()
                await self._room.wait()
            else:
                return self._state.get(key)

    def _next_revision(self) -> int:
        """Assigned before the commit; one that a failed write had is not issued again."""
        self._assigned += 1
        return self._assigned

    async def _write(self, change: Change, outcome: Entry) -> Entry:
        write = Write(change, asyncio.get_running_loop().create_future())
        self._under_way[change.key] = write
        self._started_writer().submit(write)
        await write.result
        return outcome

    def _started_writer(self) -> Writer:
        """The writer, whose callbacks belong to the loop that writes first."""
        if self._writer is None:
            loop = asyncio.get_running_loop()
            self._writer = Writer(self._file, loop, self._committed, self._failed)
        return self._writer

    def _committed(self, batch: Sequence[Write]) -> None:
        for write in batch:
            self._state.apply(write.change)
            self._streams.publish(write.change)
            self._settle(write)
            if not write.result.done():
                write.result.set_result(None)

    def _failed(self, batch: Sequence[Write], error: apsw.Error, fatal: bool) -> None:
        why = f"{self._file.path} cannot be written: {error}"
        log.error("%s", why)
        for write in batch:
            self._settle(write)
            if not write.result.done():
                write.result.set_exception(StoreClosed(why))
        if fatal:
            self._why_closed = self._why_closed or why
            self._streams.close()

    def _settle(self, write: Write) -> None:
        del self._under_way[write.change.key]
        if write.settled is not None:
            write.settled.set_result(None)
        if self._room is not None:
            self._room.set()
            self._room = None

    # Reading

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        self._check_revision(revision)
        if not revision or revision == self._state.revision:
            return self._state.get(key)
        if revision >= self._state.floor:
            return self._state.get_at(key, revision)
        page = await self.list(key, limit=1, revision=revision)
        return page.entries[0] if page.entries and page.entries[0].key == key else None

    async def list(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        self._check_revision(revision)
        entries: Sequence[Entry]
        if not revision or revision >= self._state.floor:
            shown = revision or self._state.revision
            entries = self._state.range(prefix, start, revision)
        else:
            shown = revision
            entries = await self._read(lambda reader: reader.range(prefix, start, revision))
            self._check_revision(revision)
        chosen = entries[:limit] if limit else entries
        return Page(chosen, shown, len(entries) - len(chosen))

    def watch(
        self, prefix: str, after_revision: int, progressed: Progressed | None = None
    ) -> AsyncIterator[Change]:
        if after_revision < self._compacted:
            raise Compacted(self._compacted)
        return self._streams.open(prefix, after_revision)

    async def nudge(self) -> None:
        """Nothing changes elsewhere."""

    async def revision(self) -> int:
        self._check_open()
        return self._state.revision

    async def _history(self, prefix: str, after: int) -> tuple[Sequence[Change], int]:
        """Changes above a revision for a watch that is behind: from memory, else from the file."""
        if after >= self._state.floor:
            return self._state.steps_after(after, prefix), self._state.revision
        complete = self._state.revision
        found = await self._read(lambda reader: reader.changes(prefix, after, HISTORY_PAGE))
        if after < self._compacted:
            raise Compacted(self._compacted)
        changes = [Change(row.revision, row.key, row.entry(), before) for row, before in found]
        if len(changes) == HISTORY_PAGE:
            return changes, changes[-1].revision
        return [change for change in changes if change.revision <= complete], complete

    async def _read(self, work: Callable[[SqliteReader], Any]) -> Any:
        """Read the file on the reader's thread; raises StoreClosed if the disk fails."""
        self._check_open()
        if self._reader_thread is None:
            self._reader_thread = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._reader_thread, functools.partial(self._on_reader_thread, work)
            )
        except apsw.Error as error:
            raise StoreClosed(f"{self._file.path} cannot be read: {error}") from error

    def _on_reader_thread(self, work: Callable[[SqliteReader], Any]) -> Any:
        if self._reader is None:
            self._reader = self._file.reader()
        return work(self._reader)

    # Upkeep

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._state.revision:
            raise FutureRevision(f"revision {revision} is above {self._state.revision}")
        if revision <= self._compacted:
            return
        self._compacted = revision
        self._state.forget_before(revision)
        async with self._compacting:
            await self._compact_file(revision)

    def compactions(self, interval: float) -> AsyncIterator[int]:
        return compact_alone(self, interval)

    async def _compact_file(self, revision: int) -> None:
        """Compact the file in small transactions, then give back what is free."""
        writer = self._started_writer()
        try:
            while self._file_compacted < revision:
                self._check_open()
                after = self._file_compacted
                upto = min(after + COMPACTION_BATCH, revision)
                await writer.run(functools.partial(SqliteFile.compact, after=after, upto=upto))
                self._file_compacted = upto
            if await writer.run(SqliteFile.has_spare_pages):
                while await writer.run(SqliteFile.shrink):
                    self._check_open()
        except apsw.Error as error:
            raise StoreClosed(f"{self._file.path} cannot be compacted: {error}") from error

    async def close(self) -> None:
        if self._released:
            return
        self._released = True
        self._why_closed = self._why_closed or "the store is closed"
        self._streams.close()
        writer, self._writer = self._writer, None
        if self._reader_thread is not None:
            self._reader_thread.shutdown(wait=True)
            self._reader_thread = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if writer is not None:
            await writer.stop()
        else:
            self._file.close()

    def _check_open(self) -> None:
        if self._why_closed:
            raise StoreClosed(self._why_closed)

    def _check_revision(self, revision: int) -> None:
        self._check_open()
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        if revision > self._state.revision:
            raise FutureRevision(f"revision {revision} is above {self._state.revision}")
