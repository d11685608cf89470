"""WebSockets, server side: the handshake of an upgrade request and messages over its connection.

The API server and the kubelet serve exec, attach and port-forward through it, and watches for
clients that ask for them. The ``websockets`` library does the framing without any I/O of its own;
here it is tied to a :class:`~kybern.component.http.messages.Connection`. A message is bounded, and
reading waits for the caller, so a connection holds one message at most.
"""

import base64
import binascii
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.utils import accept_key

from kybern.api.errors import bad_request
from kybern.component.http.messages import Connection, Request, Response

MAX_MESSAGE_BYTES = 4 * 1024 * 1024

Message = bytes | str


class WebSocket:
    """An open WebSocket; ``subprotocol`` is the one agreed on, empty if none."""

    def __init__(self, connection: Connection, subprotocol: str) -> None:
        self.subprotocol = subprotocol
        self._connection = connection
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        self._frames: deque[Frame] = deque()

    async def receive(self) -> Message | None:
        """The next whole message: bytes if binary, str if text; None when the peer is gone."""
        parts: list[bytes] = []
        kind: Opcode | None = None
        size = 0
        while True:
            frame = await self._next_frame()
            if frame is None or frame.opcode is Opcode.CLOSE:
                return None
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                kind = frame.opcode
            elif frame.opcode is not Opcode.CONT:
                continue
            parts.append(bytes(frame.data))
            size += len(frame.data)
            if size > MAX_MESSAGE_BYTES:
                await self.close(CloseCode.MESSAGE_TOO_BIG)
                return None
            if frame.fin:
                data = parts[0] if len(parts) == 1 else b"".join(parts)
                return data.decode("utf-8", "replace") if kind is Opcode.TEXT else data

    async def send(self, message: Message) -> None:
        """Send one message, waiting while the peer is slow; raises ConnectionError if it left."""
        try:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
        except (InvalidState, ConnectionClosed):
            raise ConnectionResetError("the WebSocket is closed") from None
        await self._flush()

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Send a close frame, once; the connection itself closes with the upgrade's end."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            await self._flush()

    async def _next_frame(self) -> Frame | None:
        while not self._frames:
            data = await self._connection.read()
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            await self._flush()
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._frames.append(event)
            if not self._frames and (not data or self._protocol.state is not State.OPEN):
                return None
        return self._frames.popleft()

    async def _flush(self) -> None:
        """Write what the protocol has to say: data, pongs, a close."""
        for data in self._protocol.data_to_send():
            if data:
                await self._connection.write(data)


def is_websocket(request: Request) -> bool:
    """Whether the client asks to upgrade to a WebSocket."""
    headers = request.headers
    return (
        headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("connection", "").lower()
    )


def offered_subprotocols(request: Request) -> list[str]:
    """What the client offers in Sec-WebSocket-Protocol, in its order."""
    offered = request.headers.get("sec-websocket-protocol", "").split(",")
    return [name.strip() for name in offered if name.strip()]


def accept(
    request: Request, subprotocols: Sequence[str], talk: Callable[[WebSocket], Awaitable[None]]
) -> Response:
    """The 101 response that hands the opened WebSocket to ``talk``; raises StatusError 400.

    The subprotocol is the client's first that is in ``subprotocols``. A client that offers none
    gets none; one that offers only others is refused.
    """
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    if request.method != "GET" or not is_websocket(request) or not _is_key(key):
        raise bad_request("the WebSocket handshake is malformed")
    if headers.get("sec-websocket-version") != "13":
        raise bad_request("only version 13 of the WebSocket protocol is supported")
    offered = offered_subprotocols(request)
    agreed = next((name for name in offered if name in subprotocols), "")
    if offered and not agreed:
        raise bad_request(
            f"unable to negotiate a WebSocket subprotocol: client supports {offered}, "
            f"server accepts {list(subprotocols)}"
        )
    answer = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(key),
    }
    if agreed:
        answer["Sec-WebSocket-Protocol"] = agreed

    async def upgrade(connection: Connection) -> None:
        socket = WebSocket(connection, agreed)
        await talk(socket)
        await socket.close()

    return Response(101, answer, b"", upgrade)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
