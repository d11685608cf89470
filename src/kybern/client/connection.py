"""One HTTP/1.1 connection to an API server: a request out, its answer back, and again.

``https.py`` keeps a pool of them. Most calls of a cluster's components are small, and a library
made for every need of HTTP costs more than all else that such a call does; this one serves this
client alone. A request leaves in one write; an answer that arrives in one piece costs one wake-up
of its reader, and the connection is free for the next request before the reader looks at it. Of a
longer answer little more than ``READ_AHEAD`` is held: then reading pauses.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools

from kybern.client.transport import ApiUnreachable
from kybern.component.http.keepalive import probe_dead_peers

READ_AHEAD = 1024 * 1024


class NoAnswer(ApiUnreachable):
    """The connection ended before the first byte of an answer, as one does that the server had
    closed because it was idle."""


class Answer(AsyncIterator[bytes]):
    """A status, lower-case headers and the body as it arrives; close it if it is not read to its
    end. Iterating raises ApiUnreachable where the connection breaks off."""

    __slots__ = ("_arrived", "_chunks", "_connection", "_problem", "complete", "headers", "status")

    def __init__(self, connection: "Connection") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self._connection = connection
        self._chunks: list[bytes] = []
        self._arrived: asyncio.Future[None] | None = None
        self._problem: Exception | None = None

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self.complete:
                raise StopAsyncIteration
            await self.arrival()
        chunks, self._chunks = self._chunks, []
        self._connection.read_on()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def aclose(self) -> None:
        """An answer that is still coming takes its connection with it."""
        if not self.complete:
            self._connection.abort()

    # What the connection calls

    async def arrival(self) -> None:
        """Wait until something came: the head, a part of the body, or the end."""
        if self._problem is not None:
            raise self._problem
        self._arrived = asyncio.get_running_loop().create_future()
        await self._arrived
        if self._problem is not None and not self._chunks:
            raise self._problem

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.wake()

    def fail(self, problem: Exception) -> None:
        self._problem = problem
        self.wake()

    def wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class Connection(asyncio.Protocol):
    """Asks one thing at a time. ``answered(connection, is_reusable)`` is called when an exchange
    is over, however it ended, and ``lost(connection)`` when the connection is."""

    def __init__(
        self,
        answered: Callable[["Connection", bool], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._answered = answered
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._is_headless = False
        self._ends_with_connection = False
        self._is_lost = False
        self._held = 0
        self._is_paused = False

    async def ask(self, request: bytes, *, is_head: bool = False) -> Answer:
        """Send a whole request; returns with the head of its answer. Raises ApiUnreachable."""
        answer = self._answer = Answer(self)
        self._is_headless = is_head
        if self._is_lost:
            # Before anybody could ask, so nothing more will be heard of it.
            self._fail(NoAnswer("the connection was closed"))
        else:
            self._transport.write(request)
        try:
            while not answer.status:
                await answer.arrival()
        except BaseException:
            self.abort()
            raise
        return answer

    def abort(self) -> None:
        """Cut it; whoever waits for an answer is told."""
        self._transport.abort()

    def read_on(self) -> None:
        """The reader took what was there."""
        self._held = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the class.
        self._transport = cast(asyncio.Transport, transport)
        probe_dead_peers(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ApiUnreachable(f"no HTTP answer: {error}"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._lost(self)
        answer = self._answer
        if answer is None:
            return
        if answer.status and self._ends_with_connection and error is None:
            self._finish(is_reusable=False)
            return
        text = str(error or "the connection was closed")
        self._fail(ApiUnreachable(text) if answer.status else NoAnswer(text))

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._answer is None:
            # Said without being asked; the next request must not take it for its answer.
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is None:
            return
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
        earlier = self._answer.headers.get(key)
        self._answer.headers[key] = text if earlier is None else f"{earlier}, {text}"

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        answer = self._answer
        if answer is None or status < 200:
            return
        answer.status = status
        framed = "content-length" in answer.headers or "transfer-encoding" in answer.headers
        self._ends_with_connection = not framed
        answer.wake()
        if self._is_headless:
            self._finish(is_reusable=False)

    def on_body(self, data: bytes) -> None:
        if self._answer is None:
            return
        self._answer.add(data)
        self._held += len(data)
        if self._held > READ_AHEAD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        answer = self._answer
        # An interim answer (1xx) is not the one that was asked for.
        if answer is not None and answer.status:
            self._finish(self._parser.should_keep_alive() and not self._ends_with_connection)

    def _finish(self, is_reusable: bool) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        self.read_on()
        answer.complete = True
        answer.wake()
        if not is_reusable:
            self._transport.close()
        self._answered(self, is_reusable and not self._transport.is_closing())

    def _fail(self, problem: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(problem)
            self._answered(self, False)
