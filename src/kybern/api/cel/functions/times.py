"""Instants and spans: reading, printing, and their parts in a time zone."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions.arithmetic import duration, timestamp
from kybern.api.cel.values import Duration, Timestamp

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_timestamp(text: str) -> Timestamp:
    """An RFC 3339 time; raises EvaluationError."""
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        *parts, fraction, zone = match.groups()
        year, month, day, hour, minute, second = map(int, parts)
        instant = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _EPOCH
        seconds = instant.days * 86400 + instant.seconds - _offset_seconds(zone)
        return timestamp(seconds * 10**9 + int((fraction or "").ljust(9, "0")))
    except (ValueError, OverflowError):
        raise EvaluationError(f"type conversion error from '{text}' to 'timestamp'") from None


def _offset_seconds(zone: str) -> int:
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -seconds if zone[0] == "-" else seconds


def parse_duration(text: str) -> Duration:
    """A span as Go writes it (``1h30m``); raises EvaluationError."""
    body = text[1:] if text[:1] in ("+", "-") else text
    total, position = 0, 0
    for match in _SPAN.finditer(body):
        if match.start() != position:
            break
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        position = match.end()
    if (position != len(body) or not body) and body != "0":
        raise EvaluationError(f"type conversion error from '{text}' to 'duration'")
    return duration(-total if text[:1] == "-" else total)


def timestamp_text(value: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits of the second as there are."""
    seconds, nanoseconds = divmod(value.nanoseconds, 10**9)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return text + (f".{nanoseconds:09d}".rstrip("0") if nanoseconds else "") + "Z"


def duration_text(value: Duration) -> str:
    """Seconds with a fraction, as in ``90.5s``."""
    sign = "-" if value.nanoseconds < 0 else ""
    seconds, nanoseconds = divmod(abs(value.nanoseconds), 10**9)
    return f"{sign}{seconds}" + (f".{nanoseconds:09d}".rstrip("0") if nanoseconds else "") + "s"


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if match:
        sign, hours, minutes = match.groups()
        span = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-span if sign == "-" else span)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None


_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDate": lambda at: at.day,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}
_SPANS = {
    "getHours": 3600 * 10**9,
    "getMinutes": 60 * 10**9,
    "getSeconds": 10**9,
    "getMilliseconds": 10**6,
}


def _whole(unit: int) -> Callable[[Duration], int]:
    """How many whole units a span has, towards zero."""

    def count(value: Duration) -> int:
        whole = abs(value.nanoseconds) // unit
        return -whole if value.nanoseconds < 0 else whole

    return count


def _part_of_instant(read: Callable[[datetime], int]) -> Callable[..., int]:
    def part(value: Timestamp, zone: str = "UTC") -> int:
        at = _EPOCH + timedelta(microseconds=value.nanoseconds // 1000)
        return read(at.astimezone(_zone(zone)))

    return part


FUNCTIONS: Functions = {
    "timestamp": [
        overload("(timestamp) -> timestamp", lambda value: value),
        overload("(string) -> timestamp", parse_timestamp),
        overload("(int) -> timestamp", lambda value: timestamp(value * 10**9)),
    ],
    "duration": [
        overload("(duration) -> duration", lambda value: value),
        overload("(string) -> duration", parse_duration),
        overload("(int) -> duration", duration),
    ],
    **{
        name: [
            overload("timestamp.() -> int", _part_of_instant(read)),
            overload("timestamp.(string) -> int", _part_of_instant(read)),
            *([overload("duration.() -> int", _whole(_SPANS[name]))] if name in _SPANS else []),
        ]
        for name, read in _PARTS.items()
    },
}
