"""One client connection: requests to the handler in order, responses out.

asyncio calls :class:`HttpConnection` with what the socket brings; ``parser.py`` makes requests of
it; one task per connection hands each request to the handler and writes the response under
back-pressure, so pipelined requests are answered in order. Bounded are the requests that wait
(reading pauses), what is written ahead (writing waits), and every wait for the client
(``deadline``, which the server checks).
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from math import inf
from typing import Protocol, cast

from kybern.api.errors import StatusError, internal_error
from kybern.component.http import wire
from kybern.component.http.keepalive import probe_dead_peers
from kybern.component.http.messages import Handler, Request, Response
from kybern.component.http.parser import Exchange, Limits, RequestParser, status_response
from kybern.component.http.upgrade import UpgradedConnection

log = logging.getLogger(__name__)

# A body is written in slices of this size, so that other connections get their turn.
SLICE = 128 * 1024
# A response up to this size goes out in one write together with its head.
SMALL = 64 * 1024
MAX_WAITING_REQUESTS = 32
LINGER_SECONDS = 2.0


class Edge(Protocol):
    """What a connection needs from its server."""

    handler: Handler
    limits: Limits
    draining: bool

    def opened(self, connection: "HttpConnection") -> None: ...

    def lost(self, connection: "HttpConnection") -> None: ...

    def started(self, task: asyncio.Task[None]) -> None: ...

    def date(self) -> str: ...


class HttpConnection(asyncio.Protocol):
    """The protocol of one connection; ``deadline`` is when the server gives the client up."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._loop = asyncio.get_running_loop()
        self.deadline = inf
        self._waiting: deque[Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self._busy = False
        self._streaming = False
        self._deaf = False
        self._after_upgrade: bytearray | None = None
        self._upgraded: UpgradedConnection | None = None
        self._continue_wanted = False

    # The socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the class.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) and peer else ""
        probe_dead_peers(transport.get_extra_info("socket"))
        tls = transport.get_extra_info("ssl_object")
        self._secure = tls is not None
        self._parser = RequestParser(
            self._edge.limits,
            address,
            tls.getpeercert(binary_form=True) if tls is not None else None,
            begun=self._request_begun,
            ready=self._request_ready,
            wants_continue=self._continue_is_wanted,
        )
        self._transport.set_write_buffer_limits(high=2 * SLICE)
        self.deadline = self._loop.time() + self._edge.limits.head_timeout
        self._edge.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.feed(data)
        elif self._after_upgrade is not None:
            self._after_upgrade += data
        elif not self._deaf and not self._parser.refused:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        rest = self._parser.feed(data)
        if rest is not None:
            self._after_upgrade = bytearray(rest)
            self._pause_reading()
        elif not self._parser.in_head and self.idle:
            self.deadline = self._loop.time() + self._edge.limits.stall_timeout

    def eof_received(self) -> bool:
        """Keep the way out open while a response is due; a stream has lost its reader."""
        if self._upgraded is not None:
            self._upgraded.feed_eof()
            return not self._secure
        self._deaf = True
        if self._streaming and self._task is not None:
            self._task.cancel()
        return not (self.idle or self._streaming or self._secure)

    def connection_lost(self, error: Exception | None) -> None:
        self.deadline = inf
        self._edge.lost(self)
        if self._upgraded is not None:
            self._upgraded.feed_eof()
        self._release_writer()
        if self._task is not None and self._upgraded is None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._write_paused = True
        # Who pages through a log may take any time; a stream holds few bytes meanwhile.
        if not self._streaming and self._upgraded is None:
            self.deadline = self._loop.time() + self._edge.limits.stall_timeout

    def resume_writing(self) -> None:
        self._write_paused = False
        self.deadline = inf
        self._release_writer()

    @property
    def idle(self) -> bool:
        """Whether no request is under way, so that closing loses nothing."""
        return not self._busy and not self._waiting

    @property
    def finished_unless_streaming(self) -> bool:
        """Whether a graceful end may close this connection: a stream would never finish."""
        return self.idle or self._streaming or self._upgraded is not None

    def close(self) -> None:
        """Send what is written and close."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once: the client is too slow."""
        self._transport.abort()

    # What the parser calls

    def _request_begun(self) -> None:
        if self.idle:
            self.deadline = self._loop.time() + self._edge.limits.head_timeout

    def _request_ready(self, exchange: Exchange) -> None:
        self._continue_wanted = False
        self._waiting.append(exchange)
        self.deadline = inf
        if len(self._waiting) >= MAX_WAITING_REQUESTS:
            self._pause_reading()
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
            self._edge.started(self._task)
        elif self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _continue_is_wanted(self) -> None:
        self._continue_wanted = True
        self._send_continue()

    def _send_continue(self) -> None:
        """Ask for the body, unless earlier responses are still to be written."""
        if self._continue_wanted and self.idle:
            self._continue_wanted = False
            self._transport.write(wire.CONTINUE)

    # The responses

    async def _serve(self) -> None:
        """Answer the requests of this connection one after the other, until it closes."""
        try:
            while not self._transport.is_closing():
                exchange = await self._next()
                self._busy = True
                if not await self._answer(exchange):
                    break
                self._busy = False
                if exchange.refusal is not None:
                    self._linger()
                    return
                if self._deaf and not self._waiting:
                    break
                self._after_answer()
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            if not isinstance(error, ConnectionError):
                log.exception("A response could not be finished.")
            return
        self._transport.close()

    def _linger(self) -> None:
        """Read on for a moment after a refusal: a reset would take the response back."""
        self.deadline = self._loop.time() + LINGER_SECONDS
        self._resume_reading()

    async def _next(self) -> Exchange:
        while not self._waiting:
            self._arrival = self._loop.create_future()
            await self._arrival
        return self._waiting.popleft()

    def _after_answer(self) -> None:
        """Take up what had to wait for the response."""
        if self._waiting:
            return
        self._send_continue()
        self.deadline = self._loop.time() + self._edge.limits.idle_timeout
        if self._after_upgrade is not None:
            # The handler did not want the upgrade, so what follows is HTTP again.
            data, self._after_upgrade = bytes(self._after_upgrade), None
            self._parser.restart()
            if data:
                self._parse(data)
        self._resume_reading()

    async def _answer(self, exchange: Exchange) -> bool:
        """Handle one request and write its response; whether the connection stays open."""
        response = exchange.refusal or await self._handle(exchange.request)
        if response.upgrade is not None:
            await self._switch(response)
            return False
        keep = exchange.keep_alive and not self._edge.draining
        if exchange.refusal is not None:
            await self._send_whole(exchange, response, cast(bytes, response.body), False)
            return True
        if isinstance(response.body, bytes):
            await self._send_whole(exchange, response, response.body, keep)
        else:
            await self._send_stream(exchange, response, response.body, keep)
        return keep

    async def _handle(self, request: Request) -> Response:
        try:
            return await self._edge.handler(request)
        except StatusError as error:
            return status_response(error)
        except Exception:
            log.exception("The handler failed: %s %s", request.method, request.path)
            return status_response(internal_error("the server failed to handle the request"))

    async def _send_whole(
        self, exchange: Exchange, response: Response, body: bytes, keep: bool
    ) -> None:
        framing = _connection_header(exchange, keep)
        if not wire.has_no_body(response.status):
            framing["Content-Length"] = str(len(body))
        head = wire.head(response, self._edge.date(), framing)
        if exchange.request.method == "HEAD" or wire.has_no_body(response.status):
            body = b""
        if len(body) <= SMALL:
            await self.write(head + body)
            return
        await self.write(head)
        view = memoryview(body)
        for start in range(0, len(body), SLICE):
            await self.write(view[start : start + SLICE])
            await asyncio.sleep(0)

    async def _send_stream(
        self, exchange: Exchange, response: Response, body: AsyncIterator[bytes], keep: bool
    ) -> None:
        chunked = exchange.minor_version != "1.0"
        framing = _connection_header(exchange, keep and chunked)
        if chunked:
            framing["Transfer-Encoding"] = "chunked"
        self._streaming = True
        try:
            await self.write(wire.head(response, self._edge.date(), framing))
            if exchange.request.method != "HEAD":
                async for data in body:
                    if data:
                        await self.write(wire.chunk(data) if chunked else data)
                if chunked:
                    await self.write(wire.LAST_CHUNK)
        finally:
            self._streaming = False
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if not chunked:
            self._transport.close()

    async def _switch(self, response: Response) -> None:
        """Hand the connection over after a 101, and close it when its owner is done."""
        assert response.upgrade is not None
        framing = {"Connection": "Upgrade"} if "Connection" not in response.headers else {}
        connection = UpgradedConnection(self._transport, self)
        connection.feed(bytes(self._after_upgrade or b""))
        self._after_upgrade = None
        self._upgraded = connection
        self.deadline = inf
        await self.write(wire.head(response, self._edge.date(), framing))
        self._resume_reading()
        with contextlib.suppress(ConnectionError):
            await response.upgrade(connection)

    async def write(self, data: bytes | memoryview) -> None:
        """Write, waiting while the client is slow; raises ConnectionResetError when it is gone."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        while self._write_paused:
            self._drained = self._loop.create_future()
            await self._drained
            if self._transport.is_closing():
                raise ConnectionResetError("the client has gone")

    def _release_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _pause_reading(self) -> None:
        if not self._read_paused and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and not self._transport.is_closing():
            self._read_paused = False
            self._transport.resume_reading()


def _connection_header(exchange: Exchange, keep: bool) -> dict[str, str]:
    if not keep:
        return {"Connection": "close"}
    return {"Connection": "keep-alive"} if exchange.minor_version == "1.0" else {}
