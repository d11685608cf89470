"""Texts: what the standard has, and cel-go's strings extension."""

from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs, text_format


def _at(text: str, position: int) -> str:
    if not 0 <= position <= len(text):
        raise EvaluationError(f"index out of range: {position}")
    return text[position : position + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if part == "":
        return start
    if start < 0:
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, last: int | None = None) -> int:
    last = len(text) if last is None else last
    if part == "":
        return last
    if last < 0:
        raise EvaluationError(f"index out of range: {last}")
    if last >= len(text) and last != len(text):
        return -1
    return text.rfind(part, 0, last + len(part))


def _replace(text: str, old: str, fresh: str, count: int = -1) -> str:
    return text.replace(old, fresh, count)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if count == 1:
        return [text]
    if separator == "":
        letters = list(text)
        return letters if count < 0 else [*letters[: count - 1], "".join(letters[count - 1 :])]
    return text.split(separator, count - 1 if count > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not 0 <= end <= len(text):
        raise EvaluationError(f"index out of range: {end}")
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    return text[start:end]


def _lower(text: str) -> str:
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in text)


def _upper(text: str) -> str:
    return "".join(c.upper() if "a" <= c <= "z" else c for c in text)


_QUOTED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def _quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(char, char) for char in text) + '"'


def _join(parts: list[Any], separator: str = "") -> str:
    return separator.join(parts)


STANDARD: Functions = {
    "contains": [overload("string.(string) -> bool", lambda a, b: b in a, costs.search)],
    "startsWith": [overload("string.(string) -> bool", str.startswith, costs.scan())],
    "endsWith": [overload("string.(string) -> bool", str.endswith, costs.scan())],
}

EXTENDED: Functions = {
    "charAt": [overload("string.(int) -> string", _at)],
    "indexOf": [
        overload("string.(string) -> int", _index_of, costs.items()),
        overload("string.(string, int) -> int", _index_of, costs.items()),
    ],
    "lastIndexOf": [
        overload("string.(string) -> int", _last_index_of, costs.items()),
        overload("string.(string, int) -> int", _last_index_of, costs.items()),
    ],
    "join": [
        overload("list(string).() -> string", _join, costs.made(2)),
        overload("list(string).(string) -> string", _join, costs.made(2)),
    ],
    "lowerAscii": [overload("string.() -> string", _lower, costs.scan())],
    "upperAscii": [overload("string.() -> string", _upper, costs.scan())],
    "replace": [
        overload("string.(string, string) -> string", _replace, costs.scan(times=2)),
        overload("string.(string, string, int) -> string", _replace, costs.scan(times=2)),
    ],
    "split": [
        overload("string.(string) -> list(string)", _split, costs.scan(times=2)),
        overload("string.(string, int) -> list(string)", _split, costs.scan(times=2)),
    ],
    "substring": [
        overload("string.(int) -> string", _substring, costs.scan()),
        overload("string.(int, int) -> string", _substring, costs.scan()),
    ],
    "trim": [overload("string.() -> string", str.strip, costs.scan())],
    "strings.quote": [overload("(string) -> string", _quote, costs.scan())],
    "format": [overload("string.(list(dyn)) -> string", text_format.render, costs.scan())],
}
