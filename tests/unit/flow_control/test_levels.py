"""Seats are divided by shares, lent and borrowed; levels come, change and drain."""

from dataclasses import dataclass

import pytest

from kybern.api.errors import Obj
from kybern.apiserver.flow_control.bootstrap_objects import MANDATORY_LEVELS, SUGGESTED_LEVELS
from kybern.apiserver.flow_control.borrowing import Claim, shares
from kybern.apiserver.flow_control.demand import SeatDemand
from kybern.apiserver.flow_control.levels import PriorityLevels
from kybern.apiserver.flow_control.queue_set import AnyTicket, Ticket
from kybern.apiserver.flow_control.statistics import FlowStatistics
from kybern.apiserver.flow_control.work import ONE_SEAT


def level(name: str, share: int, **limited: object) -> Obj:
    settings = {
        "nominalConcurrencyShares": share,
        "lendablePercent": 0,
        "limitResponse": {
            "type": "Queue",
            "queuing": {"queues": 4, "handSize": 2, "queueLengthLimit": 100},
        },
        **limited,
    }
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": settings}}


def test_the_suggested_levels_get_what_they_get_upstream() -> None:
    levels = PriorityLevels(600, 0.0)
    levels.configure((*MANDATORY_LEVELS, *SUGGESTED_LEVELS), 0.0)
    assert {name: (held.nominal, held.lower, held.upper) for name, held in levels.items()} == {
        "catch-all": (13, 13, 613),
        "exempt": (0, 0, 600),
        "system": (74, 50, 674),
        "node-high": (98, 73, 698),
        "leader-election": (25, 25, 625),
        "workload-high": (98, 49, 698),
        "workload-low": (245, 24, 845),
        "global-default": (49, 24, 649),
    }
    assert levels["global-default"].max_seats == 8
    assert levels["workload-low"].max_seats == 37


@dataclass(frozen=True)
class Flow:
    """A flow of a level."""

    hand: tuple[int, ...]
    statistics: FlowStatistics


def take(levels: PriorityLevels, name: str, seats: int, now: float) -> list[AnyTicket]:
    held = levels[name]
    tickets: list[AnyTicket] = []
    for number in range(seats):
        flow = Flow(held.hand("schema", str(number)), held.statistics_of("schema"))
        tickets.append(Ticket(flow, ONE_SEAT))
        assert not held.queue_set.start(tickets[-1], now)
    return tickets


def test_idle_seats_move_to_a_level_that_wants_them_and_back() -> None:
    levels = PriorityLevels(105, 0.0)
    levels.configure([level("idle", 50, lendablePercent=50), level("busy", 50)], 0.0)
    assert levels["busy"].nominal == 50
    tickets = take(levels, "busy", 90, 0.0)
    levels.adjust(10.0)
    assert levels["busy"].current > 50
    assert levels["idle"].current >= levels["idle"].lower == 25
    assert sum(held.current for held in levels.values()) == pytest.approx(105, abs=1)
    assert sum(one.executing for one in tickets) == levels["busy"].current
    now, lent = 10.0, levels["busy"].current
    while any(one.executing for one in tickets):
        now += 0.01
        for one in tickets:
            if one.executing and one in levels["busy"].queue_set.executing:
                levels["busy"].queue_set.finish(one, now)
                one.executing = False
    for _ in range(500):
        now += 10.0
        levels.adjust(now)
    assert levels["busy"].current < lent


def test_a_level_borrows_no_more_than_it_may() -> None:
    levels = PriorityLevels(105, 0.0)
    objects = [level("idle", 50, lendablePercent=100), level("busy", 50, borrowingLimitPercent=20)]
    levels.configure(objects, 0.0)
    take(levels, "busy", 90, 0.0)
    levels.adjust(10.0)
    assert levels["busy"].current == 60


def test_a_level_whose_object_is_gone_drains_and_goes() -> None:
    levels = PriorityLevels(100, 0.0)
    levels.configure([level("gone", 50)], 0.0)
    tickets = take(levels, "gone", 1, 0.0)
    levels.configure([], 1.0)
    assert levels["gone"].quiescing
    levels["gone"].queue_set.finish(tickets[0], 2.0)
    levels.configure([], 2.0)
    assert set(levels) == {"catch-all", "exempt"}


@pytest.mark.parametrize(
    ("total", "claims", "expected"),
    [
        (100, [Claim(0, 100, 10), Claim(0, 100, 30)], [25, 75]),
        (100, [Claim(0, 20, 10), Claim(0, 100, 30)], [20, 80]),
        (100, [Claim(40, 100, 40), Claim(0, 100, 360)], [40, 60]),
        (10, [Claim(10, 100, 10), Claim(5, 100, 30)], [10, 5]),
        (100, [Claim(0, 20, 10), Claim(0, 30, 30)], [20, 30]),
        (60, [Claim(0, 100, 0), Claim(0, 100, 0)], [30, 30]),
    ],
)
def test_one_proportion_serves_all_within_their_bounds(
    total: float, claims: list[Claim], expected: list[float]
) -> None:
    found, _ = shares(total, claims)
    assert found == pytest.approx(expected)


def test_demand_is_averaged_over_time_and_falls_by_half_in_five_minutes() -> None:
    demand = SeatDemand(0.0)
    demand.peak, demand.integral, demand.squares = 10, 10 * 5.0, 10 * 10 * 5.0
    demand.settle(0, 10.0)
    assert (demand.high_watermark, demand.average, demand.deviation) == (10, 5.0, 5.0)
    assert demand.smoothed == 10.0
    demand.settle(0, 310.0)
    assert demand.smoothed == pytest.approx(5.0, rel=0.01)
