"""Conversions between the types, and the size of things."""

import math
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs, times
from kybern.api.cel.values import TypeValue, in_range, kind

_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


def _bool(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise EvaluationError(f"type conversion error from '{text}' to 'bool'")


def _int(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 30:
        raise EvaluationError(f"type conversion error from '{text}' to 'int'")
    return in_range(int(text))


def _uint(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 30:
        raise EvaluationError(f"type conversion error from '{text}' to 'uint'")
    return in_range(int(text), unsigned=True)


def _truncated(value: float, unsigned: bool = False) -> int:
    if not math.isfinite(value):
        raise EvaluationError("unsigned integer overflow" if unsigned else "integer overflow")
    return in_range(int(value), unsigned)


def _double(text: str) -> float:
    try:
        if "_" in text or text != text.strip():
            raise ValueError(text)
        return float(text)
    except ValueError:
        raise EvaluationError(f"type conversion error from '{text}' to 'double'") from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


def double_text(value: float) -> str:
    """A double as Go prints it in its shortest form."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == 0 or 1e-4 <= abs(value) < 1e21:
        text = format(value, ".17g") if abs(value) >= 1e17 else repr(value)
        text = text if "e" not in text else format(int(value), "d")
        return text.removesuffix(".0")
    return repr(value).replace("e-0", "e-0").replace("E", "e")


def _same(value: Any) -> Any:
    return value


def _sized(signature: str) -> list[Any]:
    return [
        overload(f"({signature}) -> int", len),
        overload(f"{signature}.() -> int", len),
    ]


FUNCTIONS: Functions = {
    "size": [each for held in ("string", "bytes", "list(A)", "map(A, B)") for each in _sized(held)],
    "type": [overload("(A) -> type(A)", lambda value: TypeValue(kind(value)))],
    "dyn": [overload("(A) -> dyn", _same)],
    "bool": [overload("(bool) -> bool", _same), overload("(string) -> bool", _bool)],
    "bytes": [
        overload("(bytes) -> bytes", _same),
        overload("(string) -> bytes", str.encode, costs.scan()),
    ],
    "double": [
        overload("(double) -> double", _same),
        overload("(int) -> double", float),
        overload("(uint) -> double", float),
        overload("(string) -> double", _double),
    ],
    "int": [
        overload("(int) -> int", _same),
        overload("(uint) -> int", lambda value: in_range(int(value))),
        overload("(double) -> int", _truncated),
        overload("(string) -> int", _int),
        overload("(timestamp) -> int", lambda value: value.nanoseconds // 10**9),
        overload("(duration) -> int", lambda value: value.nanoseconds),
    ],
    "uint": [
        overload("(uint) -> uint", _same),
        overload("(int) -> uint", lambda value: in_range(value, unsigned=True)),
        overload("(double) -> uint", lambda value: _truncated(value, unsigned=True)),
        overload("(string) -> uint", _uint),
    ],
    "string": [
        overload("(string) -> string", _same),
        overload("(bool) -> string", lambda value: "true" if value else "false"),
        overload("(int) -> string", str),
        overload("(uint) -> string", lambda value: str(int(value))),
        overload("(double) -> string", double_text),
        overload("(bytes) -> string", _text, costs.scan()),
        overload("(timestamp) -> string", times.timestamp_text),
        overload("(duration) -> string", times.duration_text),
    ],
}
