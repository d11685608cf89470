"""One HTTP/1.1 exchange with a backend, over a connection of its own.

The answer's body is streamed, and an upgrade is relayed as raw bytes in both directions, so that
exec, logs and port-forward pass through whatever protocol they speak. Nothing is buffered beyond
what the streams' flow control allows.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httptools

from kybern.component.http.messages import Connection, Response, Upgrade

CONNECT_SECONDS = 10.0
CHUNK = 64 * 1024
LONGEST_HEAD = 64 * 1024

# These belong to one connection, and credentials are for this server only.
_NOT_FORWARDED = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding"})


class BackendUnreachable(Exception):
    """No connection, or no HTTP answer on it; the text says which."""


@dataclass(frozen=True)
class Target:
    """Where to send a request. ``path`` is encoded and includes the query."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}{self.path}"


@dataclass
class _Answer:
    """What the parser has found so far; ``body`` holds what was read but not handed on."""

    headers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)
    head_complete: bool = False
    complete: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


async def exchange(
    target: Target,
    method: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    forwarded_for: str = "",
) -> Response:
    """Send a request and give back the answer; raises BackendUnreachable."""
    reader, writer = await _connect(target)
    try:
        writer.write(_head(target, method, headers, body, forwarded_for) + body)
        await writer.drain()
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        rest = await _read_head(reader, parser, answer)
    except (OSError, httptools.HttpParserError) as error:
        writer.close()
        raise BackendUnreachable(str(error)) from error
    except BaseException:
        writer.close()
        raise
    status = parser.get_status_code()
    kept = {name: text for name, text in answer.headers.items() if name not in _HOP_BY_HOP}
    if status == 101:
        kept["Connection"] = "Upgrade"
        return Response(101, kept, upgrade=_relay(reader, writer, rest))
    kept.pop("content-length", None)
    if method == "HEAD":
        writer.close()
        return Response(status, kept)
    return Response(status, kept, _body(reader, writer, parser, answer))


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(
                target.host,
                target.port,
                ssl=target.tls,
                server_hostname=target.host if target.tls else None,
                limit=CHUNK,
            )
    except TimeoutError:
        raise BackendUnreachable(f"dial tcp {target.address}: i/o timeout") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise BackendUnreachable(f"dial tcp {target.address}: connect: {reason.lower()}") from error


def _head(
    target: Target, method: str, headers: Mapping[str, str], body: bytes, forwarded_for: str
) -> bytes:
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.address}"]
    for name, value in headers.items():
        if name.lower() not in _NOT_FORWARDED:
            lines.append(f"{name}: {value}")
    if headers.get("upgrade"):
        lines += ["Connection: Upgrade", f"Upgrade: {headers['upgrade']}"]
    else:
        lines.append("Connection: close")
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    if forwarded_for:
        lines.append(f"X-Forwarded-For: {forwarded_for}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _read_head(
    reader: asyncio.StreamReader, parser: httptools.HttpResponseParser, answer: _Answer
) -> bytes:
    """Feed the parser up to the end of the head; what follows an upgrade's head."""
    size = 0
    while not answer.head_complete:
        data = await reader.read(CHUNK)
        size += len(data)
        if not data:
            raise BackendUnreachable("unexpected EOF")
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]
        if size > LONGEST_HEAD and not answer.head_complete:
            raise BackendUnreachable("the response header is too long")
    return b""


async def _body(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    parser: httptools.HttpResponseParser,
    answer: _Answer,
) -> AsyncIterator[bytes]:
    """The body as it comes; a connection that breaks off ends it."""
    try:
        while True:
            if answer.body:
                chunk = b"".join(answer.body)
                answer.body.clear()
                yield chunk
            if answer.complete:
                return
            data = await reader.read(CHUNK)
            if not data:
                return
            parser.feed_data(data)
    except (OSError, httptools.HttpParserError):
        return
    finally:
        writer.close()


def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> Upgrade:
    """Carry bytes both ways until one side ends."""

    async def to_client(client: Connection) -> None:
        if rest:
            await client.write(rest)
        while data := await reader.read(CHUNK):
            await client.write(data)

    async def to_backend(client: Connection) -> None:
        while data := await client.read():
            writer.write(data)
            await writer.drain()

    async def relay(client: Connection) -> None:
        tasks = [
            asyncio.ensure_future(to_client(client)),
            asyncio.ensure_future(to_backend(client)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            client.close()
            with suppress(OSError):
                await writer.wait_closed()

    return relay
