"""SPDY/3.1, as much of it as remote commands need: the client's side, without any I/O of its own.

Kubelets and container runtimes speak exec, attach and port-forward in SPDY streams. The API server
opens streams here, sends and receives their data, and writes what :class:`SpdyClient` returns to
the upgraded connection. Flow control is left out, as the other sides leave it out: they never wait
for window updates.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 3
MAX_FRAME_BYTES = 1024 * 1024
_CONTROL = 0x8000
_SYN_STREAM, _RST_STREAM, _PING, _GOAWAY = 1, 3, 6, 7
_FIN = 0x01
_HEAD = 8

# The protocol's compression dictionary: words with their lengths before them, then a text.
_WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language
accept-ranges age allow authorization cache-control connection content-base content-encoding
content-language content-length content-location content-md5 content-range content-type date etag
expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since
last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer
retry-after server te trailer transfer-encoding upgrade user-agent vary via warning
www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin
"""
_TEXT = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    b"401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    b"503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    b"Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    b"application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    b"gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _sized(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


DICTIONARY = b"".join(_sized(w.replace("_", " ").encode()) for w in _WORDS.split()) + _TEXT


class SpdyError(Exception):
    """The peer does not speak the protocol."""


@dataclass(frozen=True, slots=True)
class Received:
    """Data of one stream; ``ended`` with its last, ``reset`` if the peer gave it up."""

    stream: int
    data: bytes = b""
    ended: bool = False
    reset: bool = False


class SpdyClient:
    """One connection; streams have odd numbers, in the order in which they are opened."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._next = 1
        self._unread = bytearray()

    def open(self, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """A new stream: its number, and what to send for it."""
        stream, self._next = self._next, self._next + 2
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            block += _sized(name.lower().encode()) + _sized(value.encode())
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return stream, _control(_SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + packed)

    @staticmethod
    def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
        """What to send for data of a stream; with ``end`` our side of it is closed."""
        flags = _FIN if end else 0
        return struct.pack(">II", stream, flags << 24 | len(payload)) + payload

    def receive(self, data: bytes) -> tuple[list[Received], bytes]:
        """What bytes from the peer say, and what to answer at once; raises SpdyError."""
        self._unread += data
        found: list[Received] = []
        answer = b""
        while len(self._unread) >= _HEAD:
            first, second = struct.unpack_from(">II", self._unread)
            size = second & 0xFFFFFF
            if size > MAX_FRAME_BYTES:
                raise SpdyError(f"a frame of {size} bytes")
            if len(self._unread) < _HEAD + size:
                break
            body = bytes(self._unread[_HEAD : _HEAD + size])
            del self._unread[: _HEAD + size]
            ended = bool(second >> 24 & _FIN)
            if not first >> 31:
                found.append(Received(first, body, ended))
                continue
            kind = first & 0xFFFF
            if first >> 16 != _CONTROL | VERSION:
                raise SpdyError("another version of SPDY")
            if kind == _PING:
                answer += _control(_PING, body)
            elif kind == _RST_STREAM:
                found.append(Received(struct.unpack_from(">I", body)[0], ended=True, reset=True))
            elif kind == _GOAWAY:
                found.append(Received(0, ended=True))
        return found, answer


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack(">II", (_CONTROL | VERSION) << 16 | kind, len(body)) + body
