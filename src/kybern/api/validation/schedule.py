"""Validation of cron schedules and time zones, in the words of the cron parser upstream uses."""

import re
import zoneinfo
from functools import lru_cache

from kybern.api.errors import FieldError, invalid_value

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    (
        "month",
        1,
        12,
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_DESCRIPTORS = (
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
)
_EVERY = "@every "
_duration = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)").match
_zone_part = re.compile(r"[A-Za-z.\-_0-9+]{1,14}").fullmatch


def schedule(text: str, zone: str | None, path: str) -> list[FieldError]:
    """Five fields, or a descriptor such as ``@daily``; the zone has a field of its own."""
    errors: list[FieldError] = []
    problem = _problem(text)
    if problem:
        errors.append(invalid_value(path, text, problem))
    if "TZ" in text:
        message = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(invalid_value(path, text, message))
    return errors


@lru_cache(1024)
def _problem(text: str) -> str:
    """What is wrong with a schedule; empty if nothing is."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        text = text.partition(" ")[2].strip()
    if text.startswith("@"):
        if text in _DESCRIPTORS:
            return ""
        if text.startswith(_EVERY) and _duration(text[len(_EVERY) :]):
            return ""
        return f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        shown = " ".join(fields)
        return f"expected exactly 5 fields, found {len(fields)}: [{shown}]"
    for field, (_, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            problem = _range_problem(part, low, high, names)
            if problem:
                return problem
    return ""


def _range_problem(part: str, low: int, high: int, names: tuple[str, ...]) -> str:
    whole, *steps = part.split("/")
    if len(steps) > 1:
        return f"too many slashes: {part}"
    first, *rest = whole.split("-")
    if len(rest) > 1:
        return f"too many hyphens: {part}"
    if first in ("*", "?"):
        start, end = low, high
    else:
        numbers = []
        for text in (first, *rest):
            number = _number(text, low, names)
            if isinstance(number, str):
                return number
            numbers.append(number)
        start, end = numbers[0], numbers[-1]
        if steps and not rest:
            end = high
    if steps:
        step = _number(steps[0], 0, ())
        if isinstance(step, str):
            return step
        if step == 0:
            return f"step of range should be a positive number: {part}"
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {part}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {part}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {part}"
    return ""


def _number(text: str, low: int, names: tuple[str, ...]) -> int | str:
    """A number or a name; a message if it is neither."""
    if text.lower() in names:
        return names.index(text.lower()) + low
    if text.isascii() and text.isdigit():
        return int(text)
    if text.startswith("-") and text[1:].isdigit():
        return f"negative number ({text}) not allowed: {text}"
    return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'


def time_zone(zone: str | None, path: str) -> list[FieldError]:
    if zone is None:
        return []
    errors: list[FieldError] = []
    if not zone:
        text = "timeZone must be nil or non-empty string"
        errors.append(invalid_value(path, zone, text))
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _zone_part(part):
            errors.append(invalid_value(path, zone, f"unknown time zone {zone}"))
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in "
        errors.append(invalid_value(path, zone, text + "https://www.iana.org/time-zones"))
    elif zone and not _is_known(zone):
        errors.append(invalid_value(path, zone, f"unknown time zone {zone}"))
    return errors


@lru_cache(256)
def _is_known(zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
