"""Timestamps as the API writes them: RFC 3339 in UTC, whole seconds or six decimals.

``normalise`` and ``check`` read every ``Time`` and ``MicroTime`` here.
"""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
_LAYOUTS = {"time": "2006-01-02T15:04:05Z07:00", "micro": "2006-01-02T15:04:05.000000Z07:00"}


def _parse(text: str, layout: str, decimals: bool) -> datetime:
    match = _RFC3339.fullmatch(text)
    if match is not None and decimals and len(match[2] or "") != 6:
        rest = text[19:]
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as ".000000"')
    found = _RFC3339.match(text)
    if match is None and found is not None:
        raise ValueError(f'parsing time "{text}": extra text: "{text[found.end() :]}"')
    if match is None:
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')
    fraction = (match[2] or "0")[:6].ljust(6, "0")
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        return datetime.fromisoformat(f"{match[1]}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f'parsing time "{text}": out of range') from None


def canonical_time(text: str) -> str:
    """A ``metav1.Time`` in UTC and whole seconds; raises ValueError with upstream's text."""
    when = _parse(text, _LAYOUTS["time"], decimals=False)
    return f"{when:%Y-%m-%dT%H:%M:%SZ}" if when.year >= 1000 else when.isoformat()[:19] + "Z"


def canonical_micro_time(text: str) -> str:
    """A ``metav1.MicroTime`` in UTC and microseconds; raises ValueError with upstream's text."""
    when = _parse(text, _LAYOUTS["micro"], decimals=True)
    return when.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
