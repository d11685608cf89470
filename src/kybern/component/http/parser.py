"""From bytes to requests: httptools (llhttp) under the edge's limits.

A connection feeds it what the socket brings and gets :class:`Exchange` after exchange. What cannot
be served is an exchange too, with its refusal already made, so that it is answered in its turn;
nothing is read after it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import httptools
import orjson

from kybern.api.errors import StatusError, bad_request, request_too_large
from kybern.component.http import wire
from kybern.component.http.messages import Request, Response

# Repeated headers whose values may hold commas are joined by a line break, which no value holds.
_LINE_JOINED = ("impersonate-", "x-remote-")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take. Times are seconds; the defaults are upstream's."""

    max_head_bytes: int = 1024 * 1024
    max_body_bytes: int = 3 * 1024 * 1024
    max_connections: int = 10_000
    head_timeout: float = 32.0
    idle_timeout: float = 90.0
    # How long a body, or the reading of a response, may make no progress at all.
    stall_timeout: float = 120.0


@dataclass(slots=True)
class Exchange:
    """One request that waits for its turn; a refused one already has its response."""

    request: Request
    keep_alive: bool
    minor_version: str
    refusal: Response | None = None


class RequestParser:
    """Parses one connection's bytes; calls ``begun`` at the first byte of each request."""

    def __init__(
        self,
        limits: Limits,
        peer_address: str,
        peer_certificate: bytes | None,
        *,
        begun: Callable[[], None],
        ready: Callable[[Exchange], None],
        wants_continue: Callable[[], None],
    ) -> None:
        self.in_head = True
        self.refused = False
        self._limits = limits
        self._peer_address = peer_address
        self._peer_certificate = peer_certificate
        self._begun = begun
        self._ready = ready
        self._wants_continue = wants_continue
        self._head_bytes = 0
        self._clear()
        self.restart()

    def restart(self) -> None:
        """Expect a new request, after one that asked for an upgrade and did not get it."""
        self._parser = httptools.HttpRequestParser(self)
        self.in_head = True

    def feed(self, data: bytes) -> bytes | None:
        """Parse; what follows a request that asks for an upgrade is given back unparsed."""
        was_in_head = self.in_head
        rest = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
            self._refuse(error.__context__)
            return None
        if self.in_head:
            self._head_bytes = (self._head_bytes if was_in_head else 0) + len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(_HeadTooLarge())
        return rest

    # What httptools calls

    def on_message_begin(self) -> None:
        self._clear()
        self.in_head = True
        self._head_bytes = 0
        self._begun()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("utf-8", "surrogateescape")
        earlier = self._headers.get(key)
        if earlier is not None:
            text = f"{earlier}\n{text}" if key.startswith(_LINE_JOINED) else f"{earlier}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._keep_alive = self._parser.should_keep_alive()
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._limits.max_body_bytes:
            raise self._too_large()
        if self._parser.get_http_version() != "1.0":
            if "host" not in self._headers:
                raise bad_request("missing required Host header")
            if self._headers.get("expect", "").lower() == "100-continue":
                self._wants_continue()

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.max_body_bytes:
            raise self._too_large()
        self._body.append(data)

    def on_message_complete(self) -> None:
        try:
            path, query = wire.split_target(self._target)
        except ValueError:
            raise bad_request("the request target is malformed") from None
        body = self._body
        request = Request(
            self._parser.get_method().decode("ascii"),
            path,
            query,
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            self._peer_certificate,
            self._peer_address,
        )
        self._ready(Exchange(request, self._keep_alive, self._parser.get_http_version()))

    def _clear(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True

    def _too_large(self) -> StatusError:
        limit = self._limits.max_body_bytes
        return request_too_large(f"Request entity too large: limit is {limit}")

    def _refuse(self, cause: BaseException | None) -> None:
        """Make the last exchange of this connection: an answer to what cannot be parsed."""
        if isinstance(cause, StatusError):
            response = status_response(cause)
        elif isinstance(cause, _HeadTooLarge):
            response = _plain_response(431, "Request Header Fields Too Large")
        else:
            response = _plain_response(400, "Bad Request")
        self.refused = True
        self._ready(Exchange(Request("GET", "/"), False, "1.1", response))


class _HeadTooLarge(Exception):
    """The request's head is beyond the limit."""


def status_response(error: StatusError) -> Response:
    """A failure as the Status object that every client of the API understands."""
    headers = {"Content-Type": "application/json", **error.headers}
    return Response(error.code, headers, orjson.dumps(error.status()))


def _plain_response(status: int, phrase: str) -> Response:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return Response(status, headers, f"{status} {phrase}".encode())
