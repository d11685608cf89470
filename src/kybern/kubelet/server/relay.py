"""Carries an upgraded stream between a client and the runtime's streaming server, byte by byte.

Exec, attach and port-forward are spoken by the runtime itself (SPDY/3.1, or WebSocket up to
``v4.channel.k8s.io``): the kubelet opens the URL that CRI gave, passes the client's upgrade on and,
once the runtime has agreed, copies both ways. What the runtime refuses is answered with its status,
so that a client can fall back to another protocol.
"""

import asyncio
import contextlib
from urllib.parse import urlsplit

from kybern.api.errors import StatusError, bad_request, internal_error
from kybern.component.http.messages import Connection, Request, Response

CONNECT_SECONDS = 10.0
MAX_HEADERS = 64 * 1024
CHUNK = 64 * 1024
# What the runtimes' streaming servers understand of WebSocket.
RUNTIME_SUBPROTOCOLS = (
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)

_PASSED_ON = (
    "upgrade",
    "connection",
    "x-stream-protocol-version",
    "sec-websocket-key",
    "sec-websocket-version",
    "origin",
)


async def relay(request: Request, url: str) -> Response:
    """The response that joins the client with the runtime at ``url``; raises StatusError."""
    if not request.headers.get("upgrade"):
        raise bad_request("Upgrade request required")
    headers = _headers(request)
    target = urlsplit(url)
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(target.hostname, port, limit=MAX_HEADERS)
            path = target.path + (f"?{target.query}" if target.query else "")
            lines = [f"{request.method} {path} HTTP/1.1", f"Host: {target.netloc}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise internal_error(f"error dialing backend: {error}") from None
    status, answered = _parse_head(head)
    if status != 101:
        text = (await _rest(reader, answered)).decode(errors="replace")
        writer.close()
        raise StatusError(
            status, "BadRequest" if status < 500 else "InternalError", text or "upgrade refused"
        )

    async def upgrade(connection: Connection) -> None:
        await join(connection, reader, writer)

    return Response(101, answered, b"", upgrade)


def _headers(request: Request) -> dict[str, str]:
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    if request.headers.get("upgrade", "").lower() == "websocket":
        offered = request.headers.get("sec-websocket-protocol", "")
        names = [name.strip() for name in offered.split(",") if name.strip()]
        usable = [name for name in names if name in RUNTIME_SUBPROTOCOLS]
        if names and not usable:
            # kubectl offers v5 first and falls back to SPDY when it is refused.
            raise bad_request(
                f"unable to upgrade: the container runtime supports none of {', '.join(names)}"
            )
        if usable:
            headers["sec-websocket-protocol"] = ", ".join(usable)
    return headers


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return status, headers


async def _rest(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """The refusal's body, as far as it comes at once."""
    lowered = {name.lower(): value for name, value in headers.items()}
    length = min(int(lowered.get("content-length") or 0), CHUNK)
    try:
        async with asyncio.timeout(1):
            return await reader.readexactly(length)
    except (TimeoutError, asyncio.IncompleteReadError):
        return b""


async def join(
    connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Copy both ways until either side ends."""

    async def outwards() -> None:
        while data := await reader.read(CHUNK):
            await connection.write(data)

    async def inwards() -> None:
        while data := await connection.read():
            writer.write(data)
            await writer.drain()

    tasks = [asyncio.create_task(outwards()), asyncio.create_task(inwards())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1] in done and tasks[0] not in done:
            # The client sends no more; what the runtime still has to say is delivered.
            with contextlib.suppress(OSError):
                writer.write_eof()
            await asyncio.wait(tasks[:1], timeout=CONNECT_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        connection.close()
