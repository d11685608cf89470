"""The raw connection after an upgrade (101): what exec, attach and port-forward speak through.

The protocol feeds it what arrives; reading from the socket pauses while the owner is slow, so a
connection holds a bounded number of bytes.
"""

import asyncio
from collections import deque
from typing import Protocol

MAX_UNREAD = 256 * 1024


class Writer(Protocol):
    """The connection's way out, shared with HTTP responses."""

    async def write(self, data: bytes) -> None: ...


class UpgradedConnection:
    """A :class:`~kybern.component.http.messages.Connection` over an asyncio transport."""

    def __init__(self, transport: asyncio.Transport, writer: Writer) -> None:
        self._transport = transport
        self._writer = writer
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if not data:
            return
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread >= MAX_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        """Nothing more will arrive."""
        self._ended = True
        self._wake()

    async def read(self) -> bytes:
        """All bytes that have arrived; empty at the end of the stream."""
        while not self._chunks:
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._unread = 0
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        await self._writer.write(data)

    def write_eof(self) -> None:
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        self._ended = True
        self._transport.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
