"""Sums and products, kept within 64 bits, and the joining of texts and lists."""

import math
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.values import Duration, Timestamp, Uint, in_range

# From year 1 to the end of year 9999.
_EARLIEST, _LATEST = -62135596800 * 10**9, 253402300799 * 10**9 + 999_999_999


def _unsigned(value: int) -> int:
    return in_range(value, unsigned=True)


def duration(nanoseconds: int) -> Duration:
    """A span, if 64 bits of nanoseconds hold it."""
    return Duration(in_range(nanoseconds, what="duration"))


def timestamp(nanoseconds: int) -> Timestamp:
    """An instant, if its year has four digits."""
    if not _EARLIEST <= nanoseconds <= _LATEST:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanoseconds)


def _divide(a: int, b: int) -> int:
    """Towards zero, as machines do it."""
    if b == 0:
        raise EvaluationError("division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _modulo(a: int, b: int) -> int:
    """The sign is the dividend's."""
    if b == 0:
        raise EvaluationError("modulus by zero")
    return int(math.copysign(1, a)) * (abs(a) % abs(b))


def _divide_doubles(a: float, b: float) -> float:
    if b == 0:
        return (
            math.nan
            if a == 0 or math.isnan(a)
            else math.copysign(math.inf, a) * math.copysign(1, b)
        )
    return a / b


def _negative(value: Any) -> Any:
    return in_range(-value)


FUNCTIONS: Functions = {
    "_+_": [
        overload("(int, int) -> int", lambda a, b: in_range(a + b)),
        overload("(uint, uint) -> uint", lambda a, b: _unsigned(a + b)),
        overload("(double, double) -> double", lambda a, b: a + b),
        overload("(string, string) -> string", lambda a, b: a + b, costs.both),
        overload("(bytes, bytes) -> bytes", lambda a, b: a + b, costs.both),
        overload("(list(A), list(A)) -> list(A)", lambda a, b: [*a, *b]),
        overload(
            "(duration, duration) -> duration",
            lambda a, b: duration(a.nanoseconds + b.nanoseconds),
        ),
        overload(
            "(timestamp, duration) -> timestamp",
            lambda a, b: timestamp(a.nanoseconds + b.nanoseconds),
        ),
        overload(
            "(duration, timestamp) -> timestamp",
            lambda a, b: timestamp(a.nanoseconds + b.nanoseconds),
        ),
    ],
    "_-_": [
        overload("(int, int) -> int", lambda a, b: in_range(a - b)),
        overload("(uint, uint) -> uint", lambda a, b: _unsigned(a - b)),
        overload("(double, double) -> double", lambda a, b: a - b),
        overload(
            "(duration, duration) -> duration",
            lambda a, b: duration(a.nanoseconds - b.nanoseconds),
        ),
        overload(
            "(timestamp, duration) -> timestamp",
            lambda a, b: timestamp(a.nanoseconds - b.nanoseconds),
        ),
        overload(
            "(timestamp, timestamp) -> duration",
            lambda a, b: duration(a.nanoseconds - b.nanoseconds),
        ),
    ],
    "_*_": [
        overload("(int, int) -> int", lambda a, b: in_range(a * b)),
        overload("(uint, uint) -> uint", lambda a, b: _unsigned(a * b)),
        overload("(double, double) -> double", lambda a, b: a * b),
    ],
    "_/_": [
        overload("(int, int) -> int", lambda a, b: in_range(_divide(a, b))),
        overload("(uint, uint) -> uint", lambda a, b: Uint(_divide(a, b))),
        overload("(double, double) -> double", _divide_doubles),
    ],
    "_%_": [
        overload("(int, int) -> int", _modulo),
        overload("(uint, uint) -> uint", lambda a, b: Uint(_modulo(a, b))),
    ],
    "-_": [
        overload("(int) -> int", _negative),
        overload("(double) -> double", lambda value: -value),
    ],
}
