"""Durations and ages as kubectl shows them to people. Pure."""

from kybern.api.objects import epoch


def human_duration(seconds: float) -> str:
    """A duration in at most two units, as kubectl prints ages: ``42s``, ``3m20s``, ``5d3h``."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, rest = divmod(hours, 24)
    if hours < 192:
        return f"{days}d{rest}h" if rest else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    if years < 8:
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"


def since(timestamp: str | None, now: float) -> str:
    """The time that passed since a timestamp; ``<unknown>`` where there is none."""
    return human_duration(now - epoch(timestamp)) if timestamp else "<unknown>"
