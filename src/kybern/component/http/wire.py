"""HTTP/1.1 as bytes: response heads, chunks, and a target split into path and query.

Called by the connection (``protocol.py``) for every request, so each function does little.
"""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import unquote

from kybern.component.http.messages import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
# Statuses whose responses never have a body, nor its length.
_BODILESS = frozenset((204, 304))


def split_target(target: bytes) -> tuple[str, str]:
    """The percent-decoded path and the raw query of a request target; raises ValueError."""
    text = target.decode("ascii")
    path, _, query = text.partition("?")
    if not path.startswith("/"):
        path = _absolute_path(path)
    return (unquote(path, errors="strict") if "%" in path else path), query


def _absolute_path(target: str) -> str:
    """The path of a target in absolute form, which proxies send."""
    scheme, separator, rest = target.partition("://")
    if target == "*" or not separator or scheme not in ("http", "https"):
        raise ValueError("the request target is not a path")
    return "/" + rest.partition("/")[2]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; ``data`` is not empty, because that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def head(response: Response, date: str, framing: Mapping[str, str]) -> bytes:
    """The status line and headers; ``framing`` says how the body ends and what comes after."""
    lines = [_STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"]
    for name, value in response.headers.items():
        lines.append(f"{name}: {_one_line(value)}\r\n")
    for name, value in framing.items():
        lines.append(f"{name}: {value}\r\n")
    lines.append(f"Date: {date}\r\n\r\n")
    return "".join(lines).encode()


def has_no_body(status: int) -> bool:
    """Whether a response of this status is complete with its head."""
    return status in _BODILESS or status < 200


def _one_line(value: str) -> str:
    """A header value that cannot start another header."""
    if "\r" in value or "\n" in value:
        return value.replace("\r", " ").replace("\n", " ")
    return value
