"""One open watch: the initial state if it asks for it, then every change that it selects.

A resource's :class:`~kybern.apiserver.cache.watchers.Watchers` offers it each change once. It
buffers a bounded number of events; when its reader lags it gives the buffer up and reads on from
the cache's window, and when the window has moved past it the stream ends: the client then watches
again from its last version and learns that it must list.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from kybern.apiserver.cache.events import ADDED, BOOKMARK, CacheChange, Selection, WatchEvent
from kybern.apiserver.cache.objects import CachedObject

MAX_BUFFERED_EVENTS = 1_000
BOOKMARK_SECONDS = 60.0

# How many objects of the initial state one batch carries: about half a megabyte of pods.
INITIAL_BATCH = 100


class WatchSource(Protocol):
    """What a watch needs from its cache."""

    @property
    def revision(self) -> int:
        """The revision up to which every change has been offered."""
        ...

    def changes_after(self, revision: int, prefix: str) -> Sequence[CacheChange] | None:
        """The changes above a revision, or None if the window has moved past it."""
        ...


class Watch(AsyncIterator[WatchEvent]):
    """One client's watch: iterate over the events, or take them by the ``batch``.

    Iteration raises StatusError where upstream sends an ERROR event, and ends when the watch was
    dropped or the cache closed.
    """

    def __init__(
        self,
        source: WatchSource,
        selection: Selection,
        *,
        open_: Callable[["Watch"], Awaitable[None]],
        on_close: Callable[["Watch"], None],
        allow_bookmarks: bool,
    ) -> None:
        self.selection = selection
        self._source = source
        self._open: Callable[[Watch], Awaitable[None]] | None = open_
        self._on_close = on_close
        self._allow_bookmarks = allow_bookmarks
        self._bookmark_timer: asyncio.TimerHandle | None = None
        self._bookmark_due = False
        self._position = 0
        self._initial: Iterator[CachedObject] | None = None
        self._end_of_initial = False
        self._behind = False
        self._buffer: deque[WatchEvent] = deque()
        self._batch: deque[WatchEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def begin(
        self, position: int, initial: Sequence[CachedObject] | None, end_of_initial: bool
    ) -> None:
        """Start: the initial objects as of ``position``, then the changes above it."""
        self._position = position
        self._initial = iter(initial) if initial is not None else None
        self._end_of_initial = end_of_initial and self._allow_bookmarks
        self._behind = initial is None and position < self._source.revision
        if self._allow_bookmarks:
            self._arm_bookmark()

    def offer(self, change: CacheChange) -> None:
        """Take one new change; called in revision order."""
        if self._behind or change.revision <= self._position:
            return
        event = change.seen_by(self.selection)
        if event is None:
            return
        if len(self._buffer) >= MAX_BUFFERED_EVENTS:
            self._position = self._buffer[0].revision - 1
            self._buffer.clear()
            self._behind = True
            return
        self._buffer.append(event)
        self._wake()

    async def batch(self) -> list[WatchEvent]:
        """All events that are ready, at least one; waits for it. Empty at the end."""
        if self._open is not None:
            open_, self._open = self._open, None
            await open_(self)
            if self._closed:
                # Closed meanwhile, and filed all the same.
                self._leave()
        while True:
            events = self._take()
            if events or self._closed:
                return events
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def __anext__(self) -> WatchEvent:
        if not self._batch:
            self._batch.extend(await self.batch())
            if not self._batch:
                raise StopAsyncIteration
        return self._batch.popleft()

    def close(self) -> None:
        """End the watch; the reader still gets what is buffered. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._leave()
        self._wake()

    async def aclose(self) -> None:
        self.close()

    def _leave(self) -> None:
        """Be offered nothing more."""
        if self._bookmark_timer is not None:
            self._bookmark_timer.cancel()
        self._on_close(self)

    def _take(self) -> list[WatchEvent]:
        if self._initial is not None:
            return self._take_initial()
        if self._behind:
            self._catch_up()
        events = list(self._buffer)
        self._buffer.clear()
        if events:
            self._position = events[-1].revision
        if self._bookmark_due and not self._closed:
            self._bookmark_due = False
            events.append(WatchEvent(BOOKMARK, None, self._source.revision))
        return events

    def _take_initial(self) -> list[WatchEvent]:
        assert self._initial is not None
        chunk = islice(self._initial, INITIAL_BATCH)
        events = [WatchEvent(ADDED, cached, cached.mod_revision) for cached in chunk]
        if len(events) < INITIAL_BATCH:
            self._initial = None
            if self._end_of_initial:
                events.append(WatchEvent(BOOKMARK, None, self._position, True))
        return events or self._take()

    def _catch_up(self) -> None:
        """Read the window on from where the buffer was given up."""
        changes = self._source.changes_after(self._position, self.selection.prefix)
        if changes is None:
            self.close()
            return
        self._behind = False
        seen = (change.seen_by(self.selection) for change in changes)
        self._buffer.extend(event for event in seen if event is not None)
        self._position = self._source.revision

    def _arm_bookmark(self) -> None:
        loop = asyncio.get_running_loop()
        self._bookmark_timer = loop.call_later(BOOKMARK_SECONDS, self._mark_bookmark_due)

    def _mark_bookmark_due(self) -> None:
        self._bookmark_due = True
        self._arm_bookmark()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
