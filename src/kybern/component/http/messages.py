"""One request and one response, free of sockets.

The edge (``server.py``) builds a :class:`Request` from the wire and writes the :class:`Response`;
an in-process client hands the same two objects to the same handler. A body is bytes, or a stream
of chunks that the edge writes under back-pressure, or an upgrade that takes over the connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from kybern.api.user import UserInfo


class Connection(Protocol):
    """The raw byte stream that is left after an HTTP upgrade."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end of the stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer is slow."""
        ...

    def write_eof(self) -> None:
        """Half-close, where the transport can."""
        ...

    def close(self) -> None:
        """Close both directions at once."""
        ...


@dataclass(slots=True)
class Request:
    """``path`` is percent-decoded, ``query`` raw; header names are lower case.

    ``user`` is set by in-process callers whose identity the process vouches for; from the wire it
    is None, and authentication finds it from ``peer_certificate`` (DER) or the headers.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer_certificate: bytes | None = None
    peer_address: str = ""
    user: UserInfo | None = None

    def params(self) -> dict[str, list[str]]:
        """The query parameters, repeated ones in order."""
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return found


Upgrade = Callable[[Connection], Awaitable[None]]


@dataclass(slots=True)
class Response:
    """``body`` is whole or a stream; with ``upgrade`` the status is 101 and the body empty.

    The edge adds Content-Length, or chunked encoding for a stream; a stream is closed
    (``aclose``) when the client goes away.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
    upgrade: Upgrade | None = None


Handler = Callable[[Request], Awaitable[Response]]
