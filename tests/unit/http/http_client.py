"""A client that sends exact bytes, and the server that it talks to."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from kybern.component.http.messages import Connection, Request, Response
from kybern.component.http.server import Server


@dataclass
class Answer:
    """One response as read from the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class RawClient:
    """One connection; ``send`` writes bytes, ``answer`` reads one response."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, server: Server, tls: ssl.SSLContext | None = None) -> "RawClient":
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
        return cls(reader, writer)

    async def send(self, *lines: str, body: bytes = b"") -> None:
        """Send a head made of ``lines``, with a Host header, and a body."""
        head = "".join(f"{line}\r\n" for line in (lines[0], "Host: test", *lines[1:]))
        self.writer.write(head.encode() + b"\r\n" + body)
        await self.writer.drain()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        """Read a status line and headers."""
        async with asyncio.timeout(5):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        return Answer(int(status.split()[1]), {k.lower(): v for k, v in headers.items()}, b"")

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read one whole response."""
        answer = await self.head()
        async with asyncio.timeout(5):
            if to_head:
                return answer
            if answer.headers.get("transfer-encoding") == "chunked":
                answer.body = b"".join([chunk async for chunk in self.chunks()])
            elif "content-length" in answer.headers:
                length = int(answer.headers["content-length"])
                answer.body = await self.reader.readexactly(length)
        return answer

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read the chunks of a stream up to its end."""
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()

    async def at_end(self) -> bool:
        """Wait for the server to close; whether it had nothing more to say."""
        async with asyncio.timeout(5):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    def reset(self) -> None:
        """Vanish: the server gets a reset, not a tidy end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass


@dataclass
class Scripted:
    """A handler that records requests and answers by path."""

    requests: list[Request] = field(default_factory=list)
    routes: dict[str, Callable[[Request], Awaitable[Response]]] = field(default_factory=dict)

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        route = self.routes.get(request.path)
        if route is not None:
            return await route(request)
        body = f"{request.method} {request.path} {len(request.body)}".encode()
        return Response(200, {"Content-Type": "text/plain"}, body)


async def echo(connection: Connection) -> None:
    """What an upgraded connection runs in these tests."""
    while data := await connection.read():
        await connection.write(data)
