"""WebSockets, against the ``websockets`` client and against raw frames."""

import asyncio
from collections.abc import Callable

import pytest
from http_client import RawClient, Scripted
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.typing import Subprotocol

from kybern.component.http.messages import Request, Response
from kybern.component.http.server import Server
from kybern.component.http.websocket import WebSocket, accept

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


async def repeat(socket: WebSocket) -> None:
    while (message := await socket.receive()) is not None:
        await socket.send(message)


@pytest.fixture(autouse=True)
def routes(handler: Scripted) -> None:
    async def upgrade(request: Request) -> Response:
        return accept(request, ["v5.channel.k8s.io", "v4.channel.k8s.io"], repeat)

    handler.routes["/ws"] = upgrade


@pytest.mark.parametrize("message", [b"", b"binary", "text é", b"x" * 1_000_000])
async def test_messages_keep_their_kind_and_content(server: Server, message: bytes | str) -> None:
    async with connect(f"ws://127.0.0.1:{server.port}/ws") as client:
        await client.send(message)
        assert await client.recv() == message


async def test_a_fragmented_message_arrives_whole(server: Server) -> None:
    async with connect(f"ws://127.0.0.1:{server.port}/ws") as client:
        await client.send([b"one", b"two", b"three"])
        assert await client.recv() == b"onetwothree"


async def test_pings_are_answered(server: Server) -> None:
    async with connect(f"ws://127.0.0.1:{server.port}/ws") as client:
        async with asyncio.timeout(5):
            await (await client.ping(b"x"))


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (["v4.channel.k8s.io"], "v4.channel.k8s.io"),
        (["v9.channel.k8s.io", "v5.channel.k8s.io", "v4.channel.k8s.io"], "v5.channel.k8s.io"),
        ([], None),
    ],
)
async def test_the_clients_first_known_subprotocol_is_taken(
    server: Server, offered: list[str], agreed: str | None
) -> None:
    subprotocols = [Subprotocol(name) for name in offered] or None
    url = f"ws://127.0.0.1:{server.port}/ws"
    async with connect(url, subprotocols=subprotocols) as client:
        assert client.subprotocol == agreed


async def test_unknown_subprotocols_are_refused(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{server.port}/ws", subprotocols=[Subprotocol("other")])
    assert refused.value.response.status_code == 400


async def test_a_message_beyond_the_limit_closes_the_socket(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.component.http.websocket.MAX_MESSAGE_BYTES", 1000)
    async with connect(f"ws://127.0.0.1:{server.port}/ws") as client:
        await client.send([b"x" * 600, b"x" * 600])
        with pytest.raises(ConnectionClosedError) as closed:
            await client.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers | {"Sec-WebSocket-Key": "short"},
        lambda headers: headers | {"Sec-WebSocket-Version": "8"},
        lambda headers: {k: v for k, v in headers.items() if k != "Sec-WebSocket-Key"},
        lambda headers: headers | {"Upgrade": "other"},
    ],
)
async def test_a_malformed_handshake_is_a_bad_request(
    client: RawClient, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    headers = change(
        {
            "Connection": "keep-alive, Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
    )
    await client.send("GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()))
    assert (await client.answer()).status == 400


async def test_a_handshake_and_frames_may_arrive_together(client: RawClient) -> None:
    unmasked_free = b"\x82\x83\x00\x00\x00\x00abc"
    await client.send(
        "GET /ws HTTP/1.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        body=unmasked_free,
    )
    answer = await client.head()
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert await client.reader.readexactly(5) == b"\x82\x03abc"


async def test_garbage_instead_of_frames_ends_the_socket(client: RawClient) -> None:
    await client.send(
        "GET /ws HTTP/1.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        body=b"\xff\xff\xff\xff\xff",
    )
    assert (await client.head()).status == 101
    async with asyncio.timeout(5):
        closing = await client.reader.read()
    assert closing[:1] == b"\x88"
