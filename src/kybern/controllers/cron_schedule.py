"""When a CronJob runs: the times of its schedule in its time zone. Pure functions of the date.

The five fields are cronsim's to work out; it is given a field for seconds as well, because it then
takes the clock as it is: a local time that daylight saving skips does not run, one that comes twice
runs twice, as upstream documents. Times are seconds since the epoch.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MANY_MISSED = 100
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_part = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Missed:
    """The last time at which the schedule should have run, and whether many were missed."""

    time: float | None
    any: bool = False
    many: bool = False


class Schedule:
    """A schedule, read once; raises ValueError if it cannot be read."""

    def __init__(self, text: str, zone: str = "") -> None:
        prefix, _, rest = text.partition(" ")
        if prefix.startswith(("TZ=", "CRON_TZ=")):
            zone, text = prefix.partition("=")[2], rest.strip()
        self._zone: tzinfo = ZoneInfo(zone) if zone else UTC
        self._every = 0.0
        if text.startswith("@every "):
            parts = _part.findall(text)
            seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
            self._every = float(max(int(seconds), 1))
        self._fields = "0 " + DESCRIPTORS.get(text, text).replace("?", "*")
        if not self._every:
            self.next(0.0)

    def next(self, after: float) -> float:
        """The first time later than ``after``; raises ValueError if there is none."""
        if self._every:
            return int(after) + self._every
        start = datetime.fromtimestamp(int(after), self._zone)
        try:
            return next(CronSim(self._fields, start)).timestamp()
        except (CronSimError, StopIteration) as error:
            raise ValueError(str(error) or "the schedule has no next time") from None


def missed(schedule: Schedule, earliest: float, now: float) -> Missed:
    """The most recent time after ``earliest`` that has come.

    Between two far ends the times are not walked one by one: the distance of the first two is
    taken for that of all, up to just before now, as upstream estimates it.
    """
    first = schedule.next(earliest)
    if now < first:
        return Missed(None)
    second = schedule.next(first)
    if now < second:
        return Missed(first)
    between = round(second - first)
    if between < 1:
        raise ValueError("time difference between two schedules is less than 1 second")
    count = int(now - first) // between + 1
    latest: float | None = None
    time = schedule.next(first + (count - 2) * between)
    while time <= now:
        latest, time = time, schedule.next(time)
    return Missed(latest, count > 0, count > MANY_MISSED)


def seconds_to_next(schedule: Schedule, earliest: float, now: float) -> float:
    """How long to wait for the next time, a little more to be surely past it."""
    found = missed(schedule, earliest, now)
    since = found.time if found.time is not None else (now if found.any else earliest)
    return schedule.next(since) + 0.1 - now
