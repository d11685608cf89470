"""Streams, slow and vanished clients, upgrades, and the graceful end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from http_client import RawClient, Scripted, echo

from kybern.component.http.messages import Request, Response
from kybern.component.http.server import Server

Start = Callable[..., Awaitable[Server]]


class Stream:
    """A body that yields what the test puts in, and says when it was closed."""

    def __init__(self, handler: Scripted, path: str = "/stream") -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()
        handler.routes[path] = self._respond

    async def _respond(self, request: Request) -> Response:
        return Response(200, {}, self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            while data := await self.queue.get():
                yield data
        finally:
            self.closed.set()


async def test_a_stream_arrives_chunk_by_chunk(client: RawClient, handler: Scripted) -> None:
    stream = Stream(handler)
    await client.send("GET /stream HTTP/1.1")
    assert (await client.head()).headers["transfer-encoding"] == "chunked"
    chunks = client.chunks()
    for data in (b"one", b"two"):
        stream.queue.put_nowait(data)
        assert await anext(chunks) == data
    stream.queue.put_nowait(b"")
    assert [chunk async for chunk in chunks] == []
    await client.send("GET /next HTTP/1.1")
    assert (await client.answer()).body == b"GET /next 0"


async def test_a_stream_to_http_1_0_ends_with_the_connection(
    client: RawClient, handler: Scripted
) -> None:
    stream = Stream(handler)
    await client.send("GET /stream HTTP/1.0", "Connection: keep-alive")
    for data in (b"one", b"two", b""):
        stream.queue.put_nowait(data)
    assert (await client.head()).headers["connection"] == "close"
    async with asyncio.timeout(5):
        assert await client.reader.read() == b"onetwo"


async def test_a_stream_is_closed_when_its_client_goes(
    client: RawClient, handler: Scripted
) -> None:
    stream = Stream(handler)
    await client.send("GET /stream HTTP/1.1")
    await client.head()
    await client.close()
    async with asyncio.timeout(5):
        await stream.closed.wait()


async def test_a_handler_is_cancelled_when_its_client_goes(
    client: RawClient, handler: Scripted
) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError("nobody wakes it")

    handler.routes["/hang"] = hang
    await client.send("GET /hang HTTP/1.1")
    await entered.wait()
    client.reset()
    async with asyncio.timeout(5):
        await left.wait()


async def test_a_slow_reader_holds_the_stream_back(client: RawClient, handler: Scripted) -> None:
    produced = 0

    async def endless(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            nonlocal produced
            while True:
                produced += 1
                yield b"x" * 64 * 1024
                await asyncio.sleep(0)

        return Response(200, {}, chunks())

    handler.routes["/endless"] = endless
    await client.send("GET /endless HTTP/1.1")
    before = -1
    # The sockets between them take some megabytes; then production stands still.
    async with asyncio.timeout(5):
        while before != produced:
            before = produced
            await asyncio.sleep(0.05)
    assert 0 < produced < 1000
    for _ in range(100):
        await client.reader.read(1024 * 1024)
    async with asyncio.timeout(5):
        while produced == before:
            await asyncio.sleep(0.01)


async def test_a_client_that_stalls_in_a_whole_response_is_given_up(
    start: Start, handler: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.component.http.server.SWEEP_SECONDS", 0.02)
    server = await start(stall_timeout=0.1)
    handler.routes["/big"] = lambda request: _big()
    client = await RawClient.connect(server)
    await client.send("GET /big HTTP/1.1")
    async with asyncio.timeout(5):
        while server.connections:
            await asyncio.sleep(0.01)
    await client.close()


async def _big() -> Response:
    return Response(200, {}, b"x" * 50_000_000)


async def test_a_stream_waits_for_a_client_that_stalls(
    start: Start, handler: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.component.http.server.SWEEP_SECONDS", 0.02)
    server = await start(stall_timeout=0.05)
    stream = Stream(handler)
    for _ in range(400):
        stream.queue.put_nowait(b"x" * 64 * 1024)
    stream.queue.put_nowait(b"")
    client = await RawClient.connect(server)
    await client.send("GET /stream HTTP/1.1")
    await client.head()
    await asyncio.sleep(0.3)  # Far beyond the timeout, as somebody who reads a page.
    assert sum([len(chunk) async for chunk in client.chunks()]) == 400 * 64 * 1024
    await client.close()


async def test_a_large_body_arrives_whole(client: RawClient, handler: Scripted) -> None:
    body = bytes(range(256)) * 20_000

    async def large(request: Request) -> Response:
        return Response(200, {}, body)

    handler.routes["/large"] = large
    await client.send("GET /large HTTP/1.1")
    assert (await client.answer()).body == body


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_a_client_that_never_finishes_its_request_is_given_up(
    start: Start, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("kybern.component.http.server.SWEEP_SECONDS", 0.02)
    server = await start(head_timeout=0.1, stall_timeout=0.1)
    client = await RawClient.connect(server)
    await client.send_raw(sent)
    assert await client.at_end()
    await client.close()


async def test_dripping_bytes_do_not_extend_the_time_for_a_head(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.component.http.server.SWEEP_SECONDS", 0.02)
    server = await start(head_timeout=0.2, stall_timeout=60)
    client = await RawClient.connect(server)
    await client.send_raw(b"GET / HTTP/1.1\r\nX: ")
    async with asyncio.timeout(5):
        while server.connections:
            client.writer.write(b"y")
            await asyncio.sleep(0.02)
    await client.close()


async def test_an_idle_connection_is_closed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.component.http.server.SWEEP_SECONDS", 0.02)
    client = await RawClient.connect(await start(idle_timeout=0.1))
    await client.send("GET / HTTP/1.1")
    assert (await client.answer()).status == 200
    assert await client.at_end()
    await client.close()


async def test_connections_beyond_the_limit_are_refused(start: Start) -> None:
    server = await start(max_connections=1)
    first = await RawClient.connect(server)
    await first.send("GET / HTTP/1.1")
    assert (await first.answer()).status == 200
    second = await RawClient.connect(server)
    assert await second.at_end()
    await first.send("GET / HTTP/1.1")
    assert (await first.answer()).status == 200
    await first.close()
    await second.close()


async def test_an_upgrade_hands_the_connection_over(client: RawClient, handler: Scripted) -> None:
    async def upgrade(request: Request) -> Response:
        return Response(101, {"Upgrade": "echo"}, b"", echo)

    handler.routes["/up"] = upgrade
    await client.send("POST /up HTTP/1.1", "Connection: Upgrade", "Upgrade: echo", body=b"early")
    answer = await client.head()
    assert (answer.status, answer.headers["connection"]) == (101, "Upgrade")
    assert await client.reader.readexactly(5) == b"early"
    big = b"z" * 2_000_000
    client.writer.write(big)
    assert await client.reader.readexactly(len(big)) == big
    client.writer.write_eof()
    assert await client.at_end()


async def test_an_upgrade_that_the_handler_ignores_stays_http(client: RawClient) -> None:
    await client.send("GET /a HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c")
    assert (await client.answer()).body == b"GET /a 0"
    await client.send("GET /b HTTP/1.1")
    assert (await client.answer()).body == b"GET /b 0"


async def test_closing_lets_requests_finish_and_ends_streams(
    start: Start, handler: Scripted
) -> None:
    server = await start()
    entered, may_end = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        entered.set()
        await may_end.wait()
        return Response(200, {}, b"done")

    handler.routes["/slow"] = slow
    stream = Stream(handler)
    working, watching, idle = [await RawClient.connect(server) for _ in range(3)]
    await working.send("GET /slow HTTP/1.1")
    await watching.send("GET /stream HTTP/1.1")
    await watching.head()
    await idle.send("GET / HTTP/1.1")
    await idle.answer()
    await entered.wait()
    closing = asyncio.create_task(server.close())
    assert await idle.at_end()
    await stream.closed.wait()
    may_end.set()
    answer = await working.answer()
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")
    await closing
    with pytest.raises(OSError):
        await RawClient.connect(server)
    for client in (working, watching, idle):
        await client.close()


async def test_closing_cuts_what_does_not_finish(start: Start, handler: Scripted) -> None:
    server = await start()
    entered = asyncio.Event()

    async def hang(request: Request) -> Response:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    handler.routes["/hang"] = hang
    client = await RawClient.connect(server)
    await client.send("GET /hang HTTP/1.1")
    await entered.wait()
    async with asyncio.timeout(5):
        await server.close(grace_seconds=0.01)
    assert server.connections == 0
    await client.close()
