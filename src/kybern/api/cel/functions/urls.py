"""``url("https://example.com/path")``: absolute URLs and absolute paths in expressions."""

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.types import Type
from kybern.api.cel.values import register

URL = Type("kubernetes.URL")


@dataclass(frozen=True, slots=True)
class Url:
    scheme: str
    host: str
    hostname: str
    port: str
    path: str
    query: str


register(Url, URL.name)


def parse(text: str) -> Url:
    """An absolute URI or an absolute path, as Go's ParseRequestURI takes them."""
    prefix = "URL parse error during conversion from string:"
    wrong = f'{prefix} parse "{text}": invalid URI for request'
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise EvaluationError(wrong) from None
    bare = any(char.isspace() or ord(char) < 0x20 for char in text)
    if not text or bare or not (parts.scheme or text.startswith("/")):
        raise EvaluationError(wrong)
    host = parts.netloc.rpartition("@")[2]
    named = parts.hostname or ""
    shown = "" if port is None else str(port)
    return Url(
        parts.scheme, host, named, shown, quote(parts.path, safe="/%:@!$&'()*+,;=~-._"), parts.query
    )


def _is_url(text: str) -> bool:
    try:
        parse(text)
    except EvaluationError:
        return False
    return True


def _query(value: Url) -> dict[str, list[str]]:
    return parse_qs(value.query, keep_blank_values=True)


_U = URL.name

FUNCTIONS: Functions = {
    "url": [overload(f"(string) -> {_U}", parse, costs.scan())],
    "isURL": [overload("(string) -> bool", _is_url, costs.scan())],
    "getScheme": [overload(f"{_U}.() -> string", lambda value: value.scheme)],
    "getHost": [overload(f"{_U}.() -> string", lambda value: value.host)],
    "getHostname": [overload(f"{_U}.() -> string", lambda value: value.hostname)],
    "getPort": [overload(f"{_U}.() -> string", lambda value: value.port)],
    "getEscapedPath": [overload(f"{_U}.() -> string", lambda value: value.path)],
    "getQuery": [overload(f"{_U}.() -> map(string, list(string))", _query)],
}
