"""The one thread that writes to the SQLite file: group commit, and upkeep between the commits.

The event loop hands it writes and jobs; it takes all that have gathered while the last commit ran,
commits them as one transaction, and calls back on the loop. A commit that fails is reported for the
whole batch. A full disk leaves nothing of it in the file and may have room again later; after any
other failure it is unknown what the disk holds, so nothing more is written.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from kybern.store.interface import Change
from kybern.store.sqlite_file import Row, SqliteFile

# Failures after which nothing of the transaction is in the file, so that writing may go on.
_CLEAN_FAILURES = (apsw.FullError, apsw.ReadOnlyError, apsw.BusyError, apsw.LockedError)

MAX_BATCH_ROWS = 1_000
MAX_BATCH_BYTES = 8 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Write:
    """A change on its way to the disk. ``settled`` is for those who wait for the same key."""

    change: Change
    result: asyncio.Future[None]
    settled: asyncio.Future[None] | None = field(default=None)

    @property
    def size(self) -> int:
        return len(self.change.entry.value) if self.change.entry else 0

    def row(self) -> Row:
        change = self.change
        previous = change.previous.mod_revision if change.previous else 0
        if change.entry is None:
            assert change.previous is not None, "only what exists is deleted"
            created = change.previous.create_revision
            return Row(change.revision, change.key, None, created, previous)
        entry = change.entry
        return Row(entry.mod_revision, entry.key, entry.value, entry.create_revision, previous)


@dataclass(slots=True, eq=False)
class _Job:
    """Something else to do with the file, between two commits."""

    work: Callable[[SqliteFile], Any]
    result: asyncio.Future[Any]


class _Stop:
    """The end of the queue."""


_STOP = _Stop()

Committed = Callable[[Sequence[Write]], None]
# With the error, and whether it is the end of all writing.
Failed = Callable[[Sequence[Write], apsw.Error, bool], None]


class Writer:
    """Owns the file from its thread; the callbacks run on ``loop``."""

    def __init__(
        self,
        file: SqliteFile,
        loop: asyncio.AbstractEventLoop,
        committed: Committed,
        failed: Failed,
    ) -> None:
        self._file = file
        self._loop = loop
        self._committed = committed
        self._failed = failed
        self._broken: apsw.Error | None = None
        self._queue: queue.SimpleQueue[Write | _Job | _Stop] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Queue a write; its callback follows. The caller bounds how many are under way."""
        self._queue.put(write)

    async def run(self, work: Callable[[SqliteFile], Any]) -> Any:
        """Do something with the file on the writer's thread, in order with the writes."""
        result: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Job(work, result))
        return await result

    async def stop(self) -> None:
        """Finish what is queued, then close the file and end the thread."""
        closed: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Job(SqliteFile.close, closed))
        self._queue.put(_STOP)
        await closed
        self._thread.join()

    def _run(self) -> None:
        """The thread: a batch of writes or one job at a time, in order."""
        following: Write | _Job | _Stop | None = self._queue.get()
        while not isinstance(following, _Stop):
            if isinstance(following, Write):
                batch = [following]
                following = self._gather(batch)
                self._commit(batch)
            else:
                assert following is not None, "the queue holds writes, jobs and the end"
                self._do(following)
                following = None
            following = following or self._queue.get()

    def _gather(self, batch: list[Write]) -> Write | _Job | _Stop | None:
        """Add the writes that are ready; what was taken but does not belong to the batch."""
        size = batch[0].size
        while True:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                return None
            if not isinstance(following, Write):
                return following
            size += following.size
            if len(batch) >= MAX_BATCH_ROWS or size > MAX_BATCH_BYTES:
                return following
            batch.append(following)

    def _commit(self, batch: Sequence[Write]) -> None:
        if self._broken is not None:
            self._call(self._failed, batch, self._broken, True)
            return
        try:
            self._file.append([write.row() for write in batch])
        except apsw.Error as error:
            if not isinstance(error, _CLEAN_FAILURES):
                self._broken = error
            self._call(self._failed, batch, error, self._broken is not None)
        else:
            self._call(self._committed, batch)

    def _do(self, job: _Job) -> None:
        try:
            outcome = job.work(self._file)
        except Exception as error:
            self._call(_set_exception, job.result, error)
        else:
            self._call(_set_result, job.result, outcome)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        # A loop that has been closed meanwhile has nobody left who waits for the answer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _set_result(future: asyncio.Future[Any], outcome: Any) -> None:
    if not future.done():
        future.set_result(outcome)


def _set_exception(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
