"""``"...%s...".format([...])``: the clauses that cel-go's strings extension knows."""

import re
from collections.abc import Callable
from typing import Any

from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import times
from kybern.api.cel.functions.conversion import double_text
from kybern.api.cel.values import Duration, Timestamp, TypeValue, kind

_CLAUSE = re.compile(r"%(%|(?:\.([0-9]{1,3}))?(.?))", re.DOTALL)
_PRECISION = 6


def render(template: str, values: list[Any]) -> str:
    """The template with its clauses filled in, in order."""
    position = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal position
        if match[1] == "%":
            return "%"
        clause = _CLAUSES.get(match[3])
        if clause is None:
            raise EvaluationError(
                f'could not parse formatting clause: unrecognized formatting clause "{match[3]}"'
            )
        if position >= len(values):
            raise EvaluationError(f"index {position} out of range")
        value = values[position]
        position += 1
        return clause(value, int(match[2]) if match[2] else None)

    return _CLAUSE.sub(fill, template)


def _wrong(clause: str, allowed: str, value: Any) -> EvaluationError:
    return EvaluationError(
        f"error during formatting: {clause} clause can only be used on {allowed}, "
        f"was given {kind(value)}"
    )


def _text(value: Any, precision: int | None = None) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return double_text(value)
        case bytes():
            return value.decode(errors="replace")
        case Timestamp():
            return times.timestamp_text(value)
        case Duration():
            return times.duration_text(value)
        case TypeValue():
            return value.name
        case list() | tuple():
            return "[" + ", ".join(map(_text, value)) + "]"
        case dict():
            pairs = sorted(f"{_text(key)}: {_text(held)}" for key, held in value.items())
            return "{" + ", ".join(pairs) + "}"
    return str(value)


def _decimal(value: Any, precision: int | None) -> str:
    if kind(value) not in ("int", "uint", "double"):
        raise _wrong("decimal", "integers", value)
    return double_text(value) if isinstance(value, float) else str(int(value))


def _fixed(value: Any, precision: int | None) -> str:
    if kind(value) not in ("int", "uint", "double"):
        raise _wrong("fixed-point", "doubles", value)
    return f"{float(value):.{_PRECISION if precision is None else precision}f}"


def _scientific(value: Any, precision: int | None) -> str:
    if kind(value) not in ("int", "uint", "double"):
        raise _wrong("scientific", "doubles", value)
    return f"{float(value):.{_PRECISION if precision is None else precision}e}"


def _binary(value: Any, precision: int | None) -> str:
    if kind(value) not in ("int", "uint", "bool"):
        raise _wrong("only integers and bools can be formatted as binary", "integers", value)
    return f"{int(value):b}"


def _octal(value: Any, precision: int | None) -> str:
    if kind(value) not in ("int", "uint"):
        raise _wrong("octal", "integers", value)
    return f"{int(value):o}"


def _hexadecimal(value: Any, precision: int | None) -> str:
    match value:
        case str():
            return value.encode().hex()
        case bytes():
            return value.hex()
    if kind(value) not in ("int", "uint"):
        raise _wrong("hex", "integers, byte buffers, and strings", value)
    return f"{int(value):x}"


_CLAUSES: dict[str, Callable[[Any, int | None], str]] = {
    "s": _text,
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "o": _octal,
    "x": _hexadecimal,
    "X": lambda value, precision: _hexadecimal(value, precision).upper(),
}
