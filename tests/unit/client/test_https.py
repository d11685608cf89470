"""The pooled transport against servers that answer in every way that HTTP allows, or do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from unittest.mock import Mock

import pytest

from kybern.client import ApiUnreachable
from kybern.client.connection import READ_AHEAD, Connection, NoAnswer
from kybern.client.https import HttpsTransport
from kybern.component.kubeconfig import Access

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request; raises IncompleteReadError when the client has gone."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length: ")
        size = int(length.partition(b"\r\n")[0] or b"0")
        return head + await self._reader.readexactly(size)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


class Server:
    """Runs one ``talk`` a connection: the first gets the first connection, and so on."""

    def __init__(self, *talks: Talk) -> None:
        self._talks = list(talks)
        self._meetings: list[asyncio.Task[None]] = []
        self.connections = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = self._talks[min(self.connections, len(self._talks) - 1)]
        self.connections += 1
        if (task := asyncio.current_task()) is not None:
            self._meetings.append(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await talk(Peer(reader, writer))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def transport(self, path: str = "") -> AsyncIterator[HttpsTransport]:
        listening = await asyncio.start_server(self.meet, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        made = HttpsTransport(Access(f"http://127.0.0.1:{port}{path}"))
        try:
            yield made
        finally:
            await made.close()
            listening.close()
            await asyncio.gather(*self._meetings)


async def answering(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.say(OK)


async def get(transport: HttpsTransport, method: str = "GET", body: bytes = b"") -> bytes:
    reply = await transport.send(method, "/x", "", {}, body)
    async with reply:
        return await reply.read()


async def test_calls_share_a_connection_one_after_the_other_and_not_at_once() -> None:
    server = Server(answering)
    async with server.transport() as transport:
        for _ in range(3):
            assert await get(transport) == b"ok"
        assert server.connections == 1
        assert await asyncio.gather(get(transport), get(transport)) == [b"ok", b"ok"]
        assert server.connections == 2


async def test_a_request_says_what_it_must() -> None:
    heard = asyncio.Queue[bytes]()

    async def listening(peer: Peer) -> None:
        heard.put_nowait(await peer.request())
        await peer.say(OK)

    async with Server(listening).transport("/prefix") as transport:
        headers = {"accept": "application/json"}
        await transport.send("POST", "/a b", "q=1", headers, b"{}")
        head, _, body = (await heard.get()).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /prefix/a%20b?q=1 HTTP/1.1"
        assert lines[1].startswith(b"host: 127.0.0.1:")
        assert lines[2:] == [b"accept: application/json", b"content-length: 2"]
        assert body == b"{}"
        with pytest.raises(ValueError, match="line break"):
            await transport.send("GET", "/", "", {"accept": "a\r\nb: c"}, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["chunked", "after an interim answer", "until the end", "the last one"],
)
@pytest.mark.parametrize("piece", [1, 1000])
async def test_every_form_of_answer_is_read(answer: bytes, piece: int) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        for start in range(0, len(answer), piece):
            await peer.say(answer[start : start + piece])
            await asyncio.sleep(0)

    async with Server(once).transport() as transport:
        assert await get(transport) == b"ok"
        assert await get(transport) == b"ok"


async def test_an_answer_without_a_body_to_head() -> None:
    async def headless(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")

    async with Server(headless).transport() as transport:
        assert await get(transport, "HEAD") == b""


async def test_a_connection_that_the_server_closed_is_replaced_where_that_does_no_harm() -> None:
    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)

    server = Server(closing, answering)
    async with server.transport() as transport:
        await get(transport)
        assert await get(transport) == b"ok"
        assert server.connections == 2

    server = Server(closing, answering)
    async with server.transport() as transport:
        await get(transport)
        with pytest.raises(ApiUnreachable):
            await get(transport, "POST", b"{}")
        assert server.connections == 1


async def test_a_new_connection_that_ends_without_an_answer_is_not_tried_again() -> None:
    async def mute(peer: Peer) -> None:
        await peer.request()

    server = Server(mute)
    async with server.transport() as transport:
        with pytest.raises(ApiUnreachable):
            await get(transport)
        assert server.connections == 1


async def test_a_server_that_hangs_up_at_once_is_unreachable() -> None:
    async def busy(peer: Peer) -> None:
        pass

    async with Server(busy).transport() as transport:
        with pytest.raises(ApiUnreachable):
            await get(transport)


async def test_asking_over_a_connection_that_is_lost_already_fails() -> None:
    over: list[bool] = []
    connection = Connection(lambda _, reusable: over.append(reusable), lambda _: None)
    connection.connection_made(asyncio.Transport())
    connection.connection_lost(None)
    connection._transport = Mock()
    with pytest.raises(NoAnswer):
        await connection.ask(b"")
    assert over == [False]


async def test_what_was_not_asked_for_is_no_answer() -> None:
    async def talkative(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.say(OK.replace(b"ok", b"no"))
        await peer.request()

    server = Server(talkative, answering)
    async with server.transport() as transport:
        assert await get(transport) == b"ok"
        async with asyncio.timeout(10):
            while transport._idle:
                await asyncio.sleep(0)
        assert await get(transport) == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["a part of a body", "a part of a stream", "another protocol", "an upgrade"],
)
async def test_what_is_not_a_whole_answer_is_an_error(broken: bytes) -> None:
    async def breaking(peer: Peer) -> None:
        await peer.request()
        await peer.say(broken)

    async with Server(breaking).transport() as transport:
        with pytest.raises(ApiUnreachable):
            await get(transport)


async def test_a_stream_that_is_closed_early_takes_its_connection_with_it() -> None:
    gone = asyncio.Event()

    async def streaming(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await peer.request()
        gone.set()

    server = Server(streaming, answering)
    async with server.transport() as transport:
        reply = await transport.send("GET", "/x", "", {}, b"")
        async with reply:
            assert await anext(aiter(reply.chunks)) == b"ok"
        await gone.wait()
        assert await get(transport) == b"ok"
        assert server.connections == 2


async def test_a_slow_reader_holds_the_server_up() -> None:
    said = 0

    async def flooding(peer: Peer) -> None:
        nonlocal said
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(64):
            await peer.say(bytes(READ_AHEAD))
            said += 1

    async with Server(flooding).transport() as transport:
        reply = await transport.send("GET", "/x", "", {}, b"")
        for _ in range(200):
            await asyncio.sleep(0)
        assert said < 32, "everything was read ahead"
        async with reply:
            assert len(await reply.read()) == 64 * READ_AHEAD


async def test_closing_ends_the_streams() -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.request()

    async with Server(silent).transport() as transport:
        reply = await transport.send("GET", "/x", "", {}, b"")
        reading = asyncio.ensure_future(reply.read())
        await asyncio.sleep(0)
        await transport.close()
        with pytest.raises(ApiUnreachable):
            await reading


async def test_a_call_that_is_given_up_frees_its_place() -> None:
    async def deaf(peer: Peer) -> None:
        await peer.request()
        await peer.request()

    server = Server(deaf, answering)
    async with server.transport() as transport:
        transport._room = asyncio.Semaphore(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await get(transport)
        assert await get(transport) == b"ok"
