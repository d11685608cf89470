"""Times of cron schedules, with time zones and missed runs."""

from datetime import datetime

import pytest

from kybern.controllers.cron_schedule import Schedule, missed, seconds_to_next


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("* * * * *", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("*/15 9-17 * * MON-FRI", "", "2026-01-02T17:50:00Z", "2026-01-05T09:00:00Z"),
        ("0 0 ? * *", "Asia/Tokyo", "2026-01-01T00:00:00Z", "2026-01-01T15:00:00Z"),
        # Both day fields given: either will do. One of them a star: both must match.
        ("0 0 13 * fri", "", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z"),
        ("0 0 */2 * fri", "", "2026-03-01T00:00:00Z", "2026-03-13T00:00:00Z"),
        ("@weekly", "", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@every 1h30m", "", "2026-01-01T00:10:00Z", "2026-01-01T01:40:00Z"),
        ("TZ=America/New_York 0 6 * * *", "", "2026-07-01T00:00:00Z", "2026-07-01T10:00:00Z"),
        # 02:30 does not exist on the day on which clocks go forward.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
        # 02:30 comes twice on the day on which they go back.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
    ],
)
def test_the_next_time(text: str, zone: str, after: str, expected: str) -> None:
    assert Schedule(text, zone).next(at(after)) == at(expected)


def test_schedules_that_never_come_are_refused() -> None:
    with pytest.raises(ValueError):
        Schedule("0 0 30 2 *")


def test_missed_times() -> None:
    hourly = Schedule("@hourly")
    start = at("2026-01-01T00:30:00Z")
    assert missed(hourly, start, at("2026-01-01T00:59:59Z")).time is None
    one = missed(hourly, start, at("2026-01-01T01:10:00Z"))
    assert one.time == at("2026-01-01T01:00:00Z") and not one.many
    several = missed(hourly, start, at("2026-01-01T05:10:00Z"))
    assert several.time == at("2026-01-01T05:00:00Z") and not several.many
    many = missed(hourly, start, at("2026-01-08T05:10:00Z"))
    assert many.time == at("2026-01-08T05:00:00Z") and many.many


def test_the_wait_ends_just_after_the_next_time() -> None:
    hourly, start = Schedule("@hourly"), at("2026-01-01T00:30:00Z")
    assert seconds_to_next(hourly, start, start) == pytest.approx(1800.1)
    late = at("2026-01-01T05:10:00Z")
    assert seconds_to_next(hourly, start, late) == pytest.approx(3000.1)
