"""Watches of a store: bounded feeds that fall back to the history when their reader is slow.

A store offers each committed change to its :class:`Streams` once, in revision order. A stream
whose reader lags gives up its buffer and catches up from the history instead, so memory stays
bounded and no change is lost or repeated; it ends with ``Compacted`` if the history has gone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from kybern.store.interface import Change

MAX_BUFFERED = 10_000

# Given a prefix and a revision: the changes above it (perhaps only the first of them), and
# the revision up to which they are complete. Raises Compacted.
History = Callable[[str, int], Awaitable[tuple[Sequence[Change], int]]]


class Stream(AsyncIterator[Change]):
    """One watch: changes under a prefix above a revision, once each, in order."""

    def __init__(self, streams: "Streams", prefix: str, after_revision: int) -> None:
        self._streams = streams
        self._prefix = prefix
        self._position = after_revision
        self._buffer: deque[Change] = deque()
        self._behind = after_revision < streams.revision
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def offer(self, change: Change) -> None:
        """Take a new change, or note that the history has to be read."""
        if self._behind or change.revision <= self._position:
            return
        if not change.key.startswith(self._prefix):
            return
        if len(self._buffer) >= MAX_BUFFERED:
            self._position = self._buffer[0].revision - 1
            self._buffer.clear()
            self._behind = True
            return
        self._buffer.append(change)
        self._wake()

    async def __anext__(self) -> Change:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            if self._behind:
                await self._catch_up()
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        change = self._buffer.popleft()
        self._position = change.revision
        return change

    def buffered(self) -> list[Change]:
        """Take all that is ready, so that a reader can handle a burst at once."""
        taken = list(self._buffer)
        if taken:
            self._buffer.clear()
            self._position = taken[-1].revision
        return taken

    async def aclose(self) -> None:
        self.end()

    def end(self) -> None:
        """Stop: the reader gets what is buffered and then the end."""
        self._closed = True
        self._streams.remove(self)
        self._wake()

    async def _catch_up(self) -> None:
        changes, complete = await self._streams.history(self._prefix, self._position)
        self._buffer.extend(changes)
        self._position = complete
        self._behind = complete < self._streams.revision

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Streams:
    """All watches of one store."""

    def __init__(self, revision: int, history: History) -> None:
        self.revision = revision
        self.history = history
        self._open: dict[Stream, None] = {}
        self._closed = False

    def open(self, prefix: str, after_revision: int) -> Stream:
        stream = Stream(self, prefix, after_revision)
        self._open[stream] = None
        if self._closed:
            stream.end()
        return stream

    def publish(self, change: Change) -> None:
        self.revision = change.revision
        for stream in self._open:
            stream.offer(change)

    def remove(self, stream: Stream) -> None:
        self._open.pop(stream, None)

    def close(self) -> None:
        """End every watch, now and later."""
        self._closed = True
        for stream in list(self._open):
            stream.end()
