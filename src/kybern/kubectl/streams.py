"""Remote commands over WebSocket: kubectl's ``v5.channel.k8s.io`` protocol from the client's side.

Each binary message starts with its channel: 0 standard input, 1 output, 2 error, 3 the final
Status, 4 the terminal's size, 255 closes a channel.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from urllib.parse import urlencode

import aiohttp
import click
import orjson

from kybern.client import Client

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHUNK = 32768


async def run_remote(
    client: Client, path: str, query: Sequence[tuple[str, str]], stdin: bool, tty: bool
) -> int:
    """Join our streams to the command's; returns its exit code."""
    socket = await client.websocket(path, urlencode(query), PROTOCOLS)
    async with socket:
        with _raw_terminal() if tty and sys.stdin.isatty() else contextlib.nullcontext():
            tasks = [asyncio.create_task(_send_input(socket))] if stdin else []
            if tty:
                await _follow_size(socket)
            try:
                return await _receive(socket)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> int:
    async for message in socket:
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        if not data:
            continue
        if data[0] == STDOUT:
            sys.stdout.buffer.write(data[1:])
            sys.stdout.buffer.flush()
        elif data[0] == STDERR:
            sys.stderr.buffer.write(data[1:])
            sys.stderr.buffer.flush()
        elif data[0] == STATUS:
            return _exit_code(data[1:])
    click.echo("error: the connection ended before the command did", err=True)
    return 1


def _exit_code(status: bytes) -> int:
    found = orjson.loads(status)
    if found.get("status") == "Success":
        return 0
    for cause in (found.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            click.echo(f"command terminated with exit code {cause['message']}", err=True)
            return int(cause["message"])
    click.echo(f"error: {found.get('message', '')}", err=True)
    return 1


async def _send_input(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Our standard input until its end; v5 can say that it ended."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(1)
    # A daemon, because nothing else ends a read from a terminal once the command has ended.
    threading.Thread(target=_read_input, args=(loop, chunks), daemon=True).start()
    while data := await chunks.get():
        await socket.send_bytes(bytes([STDIN]) + data)
    if socket.protocol == PROTOCOLS[0]:
        await socket.send_bytes(bytes([CLOSE, STDIN]))
    else:
        click.echo(
            "warning: the server does not speak v5.channel.k8s.io, so the command cannot be told "
            "that its input ended",
            err=True,
        )


def _read_input(loop: asyncio.AbstractEventLoop, chunks: "asyncio.Queue[bytes]") -> None:
    """Hand on what comes, an empty chunk at the end; ends early with the loop."""
    with contextlib.suppress(RuntimeError, CancelledError):
        while data := os.read(sys.stdin.fileno(), CHUNK):
            asyncio.run_coroutine_threadsafe(chunks.put(data), loop).result()
        asyncio.run_coroutine_threadsafe(chunks.put(b""), loop).result()


async def _follow_size(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Tell the terminal's size now and whenever it changes."""

    async def tell() -> None:
        size = shutil.get_terminal_size()
        body = orjson.dumps({"Width": size.columns, "Height": size.lines})
        await socket.send_bytes(bytes([RESIZE]) + body)

    await tell()
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def changed() -> None:
        task = asyncio.ensure_future(tell())
        pending.add(task)
        task.add_done_callback(pending.discard)

    loop.add_signal_handler(signal.SIGWINCH, changed)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the command; the terminal is restored whatever happens."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
