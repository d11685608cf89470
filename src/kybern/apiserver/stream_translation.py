"""WebSocket clients of exec, attach and port-forward, joined to kubelets that speak SPDY.

Older WebSocket protocols pass through to the container runtime unread. The newest,
``v5.channel.k8s.io``, can end a command's input, which no runtime understands: its messages become
SPDY streams here. Port-forward comes as SPDY inside WebSocket messages and is unwrapped. Both ways
wait for the slower side; nothing is kept but the command's final status.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import orjson

from kybern.api.errors import internal_error
from kybern.component.http.messages import Connection, Request, Response
from kybern.component.http.spdy import Received, SpdyClient, SpdyError
from kybern.component.http.websocket import WebSocket, accept, is_websocket, offered_subprotocols

REMOTE_COMMAND = "v5.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
_STREAMS = ("stdin", "stdout", "stderr", "error", "resize")
_CLOSE = 255
_MAX_STATUS_BYTES = 64 * 1024
_MAX_CHUNKS = 16
# How long the kubelet's end may take after the client has gone.
_LEAVING_SECONDS = 5.0

# Asks the kubelet for an upgrade with these headers.
Dial = Callable[[Mapping[str, str]], Awaitable[Response]]


def wants(request: Request, subprotocol: str) -> bool:
    """Whether a WebSocket client offers one of the protocols that are translated."""
    return is_websocket(request) and subprotocol in offered_subprotocols(request)


async def remote_command(request: Request, dial: Dial, streams: Sequence[str]) -> Response:
    """Join a v5 client with the streams (of ``_STREAMS``) of a command; StatusError 400."""

    async def talk(socket: WebSocket, kubelet: Connection) -> None:
        await _Translation(socket, kubelet, streams).run()

    return await _joined(request, dial, REMOTE_COMMAND, "v4.channel.k8s.io", talk)


async def tunnel(request: Request, dial: Dial) -> Response:
    """Unwrap the SPDY bytes of a port-forward; raises StatusError 400."""
    return await _joined(request, dial, TUNNEL, "portforward.k8s.io", _unwrap)


async def _joined(
    request: Request,
    dial: Dial,
    subprotocol: str,
    inner: str,
    talk: Callable[[WebSocket, Connection], Awaitable[None]],
) -> Response:
    """Upgrade to the kubelet first: what it refuses is the client's answer too."""
    headers = {"upgrade": "SPDY/3.1", "x-stream-protocol-version": inner}
    response = await dial(headers)
    if response.upgrade is None:
        return response
    carry = response.upgrade

    async def serve(socket: WebSocket) -> None:
        ours, theirs = Pipe(), Pipe()
        carrying = asyncio.ensure_future(carry(_End(theirs, ours)))
        try:
            await talk(socket, _End(ours, theirs))
        finally:
            theirs.end()
            await asyncio.wait([carrying], timeout=_LEAVING_SECONDS)
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)

    return accept(request, (subprotocol,), serve)


class Pipe:
    """Bytes on their way from one task to another, a few chunks at a time."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        while len(self._chunks) >= _MAX_CHUNKS and not self._ended:
            await self._change()
        if self._ended:
            raise ConnectionResetError("the other end is closed")
        if not data:
            # Clients send empty messages; on the way on they would look like the end.
            return
        self._chunks.append(data)
        self._changed.set()

    async def get(self) -> bytes:
        """The next chunk; empty at the end."""
        while not self._chunks and not self._ended:
            await self._change()
        self._changed.set()
        return self._chunks.popleft() if self._chunks else b""

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class _End:
    """One end of two pipes, as a :class:`~kybern.component.http.messages.Connection`."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    async def read(self) -> bytes:
        return await self._incoming.get()

    async def write(self, data: bytes) -> None:
        await self._outgoing.put(data)

    def write_eof(self) -> None:
        self._outgoing.end()

    def close(self) -> None:
        self._outgoing.end()
        self._incoming.end()


class _Translation:
    """One command: WebSocket channels on one side, SPDY streams on the other."""

    def __init__(self, socket: WebSocket, kubelet: Connection, streams: Sequence[str]) -> None:
        self._socket = socket
        self._kubelet = kubelet
        self._wanted = streams
        self._spdy = SpdyClient()
        self._streams: dict[str, int] = {}
        self._channels: dict[int, int] = {}
        self._open: set[int] = set()
        self._status = b""

    async def run(self) -> None:
        """Carry both ways until the command has ended or one side has gone."""
        # The kubelet waits for all streams before it starts the command; the error stream is first.
        for name in ("error", *(name for name in self._wanted if name != "error")):
            stream, frame = self._spdy.open({"streamtype": name})
            self._streams[name] = stream
            self._channels[stream] = _STREAMS.index(name)
            await self._kubelet.write(frame)
        self._open = {self._streams[n] for n in ("error", "stdout", "stderr") if n in self._streams}
        inwards = asyncio.create_task(self._inwards())
        outwards = asyncio.create_task(self._outwards())
        try:
            await asyncio.wait((inwards, outwards), return_when=asyncio.FIRST_COMPLETED)
            if outwards.done():
                outwards.result()
                await self._tell_status()
        except (SpdyError, ConnectionError) as error:
            self._status = b""
            await self._tell_status(str(error))
        finally:
            for task in (inwards, outwards):
                task.cancel()
            await asyncio.gather(inwards, outwards, return_exceptions=True)

    async def _inwards(self) -> None:
        while (message := await self._socket.receive()) is not None:
            data = message if isinstance(message, bytes) else message.encode()
            if not data:
                continue
            closing = data[0] == _CLOSE
            channel = data[1] if closing and len(data) > 1 else data[0]
            name = _STREAMS[channel] if channel < len(_STREAMS) else ""
            if name not in ("stdin", "resize") or name not in self._streams:
                continue
            payload = b"" if closing else data[1:]
            await self._kubelet.write(self._spdy.data(self._streams[name], payload, end=closing))

    async def _outwards(self) -> None:
        while self._open:
            data = await self._kubelet.read()
            if not data:
                return
            received, answer = self._spdy.receive(data)
            if answer:
                await self._kubelet.write(answer)
            for each in received:
                await self._take(each)

    async def _take(self, received: Received) -> None:
        channel = self._channels.get(received.stream)
        if received.stream == 0 and received.ended:
            self._open.clear()
        if channel is None:
            return
        if _STREAMS[channel] == "error":
            self._status = (self._status + received.data)[:_MAX_STATUS_BYTES]
        elif received.data:
            await self._socket.send(bytes([channel]) + received.data)
        if received.ended:
            self._open.discard(received.stream)

    async def _tell_status(self, problem: str = "the connection to the container ended") -> None:
        """The status is the last that a client reads, so it comes after all output."""
        status = self._status or orjson.dumps(internal_error(problem).status())
        await self._socket.send(bytes([_STREAMS.index("error")]) + status)


async def _unwrap(socket: WebSocket, kubelet: Connection) -> None:
    async def inwards() -> None:
        while (message := await socket.receive()) is not None:
            await kubelet.write(message if isinstance(message, bytes) else message.encode())

    async def outwards() -> None:
        while data := await kubelet.read():
            await socket.send(data)

    tasks = [asyncio.create_task(inwards()), asyncio.create_task(outwards())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
