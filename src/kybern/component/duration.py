"""Durations as Go writes and reads them: ``10s``, ``1m20s``, ``5m0s``, ``1.5h``, ``100ms``."""

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


class Duration(float):
    """Seconds, for flags and settings that are written as Go durations."""


def parse_duration(text: str) -> Duration:
    """Seconds of a Go duration; raises ValueError with Go's text."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    parts = _PART.findall(rest)
    if rest == "0":
        return Duration(0)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return Duration(-seconds if text.startswith("-") else seconds)


def go_duration(seconds: float) -> str:
    """Seconds as Go prints a duration."""
    if seconds < 0:
        return f"-{go_duration(-seconds)}"
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds else "0s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown
