"""A container's log: reading CRI's format, from where and how much the caller wants, and following.

A line on disk is ``TIME STREAM TAG TEXT``; the tag P marks a part of a long line. Files may be
rotated while they are followed. Reading happens in threads, in bounded chunks.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kybern.api.errors import StatusError, bad_request
from kybern.component.clock import Clock, parse_rfc3339

CHUNK = 64 * 1024
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of a log request; None means without that limit."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit_bytes: int | None = None
    since: float | None = None
    stream: str = "All"


def parse_options(params: dict[str, list[str]], clock: Clock) -> LogOptions:
    """The options of a request; raises StatusError 400."""

    def one(name: str) -> str:
        return (params.get(name) or [""])[-1]

    def number(name: str) -> int | None:
        text = one(name)
        if not text:
            return None
        try:
            value = int(text)
        except ValueError:
            value = -1
        if value < 0:
            raise bad_request(f"invalid {name}: {text}")
        return value

    since = None
    if (seconds := number("sinceSeconds")) is not None:
        since = clock.time() - seconds
    elif text := one("sinceTime"):
        try:
            since = parse_rfc3339(text)
        except ValueError:
            raise bad_request(f"invalid sinceTime: {text}") from None
    return LogOptions(
        follow=one("follow") in ("true", "1"),
        timestamps=one("timestamps") in ("true", "1"),
        tail=number("tailLines"),
        limit_bytes=number("limitBytes"),
        since=since,
        stream=one("stream") or "All",
    )


async def read_log(
    path: Path, options: LogOptions, still_running: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """The log's text in chunks; a followed one ends when the container has."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise StatusError(
            404, "NotFound", f"failed to try resolving symlinks in path {path}: {error.strerror}"
        ) from None
    left = options.limit_bytes
    async with contextlib.aclosing(_lines(path, file, options, still_running)) as lines:
        async for text in lines:
            if left is not None:
                text = text[:left]
                left -= len(text)
            if text:
                yield text
            if left == 0:
                return


async def _lines(
    path: Path, file: BinaryIO, options: LogOptions, still_running: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """Whole lines as they are shown; owns the file, and the one that takes its place."""
    rest = b""
    running = True
    try:
        if options.tail is not None:
            await asyncio.to_thread(seek_to_tail, file, options.tail)
        while True:
            chunk = await asyncio.to_thread(file.read, CHUNK)
            if chunk:
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                shown = b"".join(text for line in lines if (text := _shown(line, options)))
                if shown:
                    yield shown
                continue
            if not options.follow or not running:
                return
            rotated = await asyncio.to_thread(_reopen_if_rotated, path, file)
            if rotated is not None:
                file, rest = rotated, b""
                continue
            # One more read follows an end, for what the container wrote just before it.
            running = await still_running()
            if running:
                await asyncio.sleep(POLL_SECONDS)
    finally:
        file.close()


def _reopen_if_rotated(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The new file, if another one took the path; the old one is read to its end by then."""
    try:
        if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
            return None
        fresh = path.open("rb")
    except OSError:
        return None
    file.close()
    return fresh


def _shown(line: bytes, options: LogOptions) -> bytes:
    """One line of the file as the caller sees it; empty if it is not wanted."""
    parts = line.split(b" ", 3)
    if len(parts) < 4:
        return b""
    time, stream, tag, text = parts
    if options.stream != "All" and stream.decode() != options.stream.lower():
        return b""
    if options.since is not None and _time_of(time) < options.since:
        return b""
    end = b"" if tag.startswith(b"P") else b"\n"
    return (time + b" " if options.timestamps else b"") + text + end


def _time_of(text: bytes) -> float:
    """The time of a line; Python reads at most six decimals of the nine that are written."""
    whole, _, rest = text.decode().partition(".")
    digits = "".join(char for char in rest if char.isdigit())
    if not rest:
        return parse_rfc3339(whole)
    zone = rest.lstrip("0123456789")
    fraction = digits[: len(rest) - len(zone)]
    return parse_rfc3339(whole + zone) + float(f"0.{fraction or 0}")


def seek_to_tail(file: BinaryIO, lines: int) -> None:
    """Move to where the last ``lines`` lines begin, reading backwards in chunks. Blocks."""
    end = file.seek(0, os.SEEK_END)
    position, wanted = end, lines
    if lines == 0:
        return
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        chunk = file.read(size)
        at = len(chunk)
        while (at := chunk.rfind(b"\n", 0, at)) >= 0:
            # The newline at the very end closes the last line and opens none.
            if position + at + 1 == end:
                continue
            wanted -= 1
            if wanted == 0:
                file.seek(position + at + 1)
                return
    file.seek(0)
