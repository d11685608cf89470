"""Fair queuing: equal parts for queues with work, limits, corrections, and no seat lost."""

import random
from collections import Counter
from dataclasses import dataclass

from kybern.apiserver.flow_control.queue_set import (
    CONCURRENCY_LIMIT,
    QUEUE_FULL,
    AnyTicket,
    QueueSet,
    Ticket,
)
from kybern.apiserver.flow_control.statistics import FlowStatistics
from kybern.apiserver.flow_control.work import ONE_SEAT, Work, work

STATISTICS = FlowStatistics()


@dataclass(frozen=True)
class Flow:
    """A flow that may wait in these queues."""

    hand: tuple[int, ...]
    statistics: FlowStatistics = STATISTICS


def ticket(hand: tuple[int, ...] = (), held: Work = ONE_SEAT) -> AnyTicket:
    return Ticket(Flow(hand), held)


def queue_set(limit: int, queues: int = 0, length: int = 0) -> QueueSet:
    made = QueueSet(0.0)
    made.configure(queues, length)
    made.set_limit(limit, 0.0)
    return made


def test_without_queues_a_request_above_the_limit_is_refused() -> None:
    queues = queue_set(2)
    first, second = ticket(), ticket()
    assert queues.start(first, 0.0) == queues.start(second, 0.0) == ""
    assert queues.start(ticket(), 0.0) == CONCURRENCY_LIMIT
    queues.finish(first, 1.0)
    assert queues.start(ticket(), 1.0) == ""
    assert (len(queues.executing), queues.seats_in_use, queues.rejected) == (2, 2, 1)


def test_an_exempt_level_has_no_limit() -> None:
    queues = QueueSet(0.0, limited=False)
    assert [queues.start(ticket(), 0.0) for _ in range(1000)] == [""] * 1000


def test_a_request_waits_for_a_seat_and_is_called() -> None:
    queues = queue_set(1, queues=4, length=10)
    running, waiting = ticket((0,)), ticket((1,))
    called: list[str] = []
    waiting.called = lambda: called.append("called")
    queues.start(running, 0.0)
    assert queues.start(waiting, 0.0) == ""
    assert not waiting.executing
    queues.finish(running, 1.0)
    assert waiting.executing
    assert called == ["called"]
    assert (queues.waiting, len(queues.executing)) == (0, 1)


def test_a_full_queue_refuses() -> None:
    queues = queue_set(1, queues=1, length=2)
    assert [queues.start(ticket((0,)), 0.0) for _ in range(4)] == ["", "", "", QUEUE_FULL]


def test_a_request_joins_the_queue_of_its_hand_with_the_least_work() -> None:
    queues = queue_set(1, queues=3, length=10)
    tickets = [ticket((0, 1, 2)) for _ in range(7)]
    for one in tickets:
        queues.start(one, 0.0)
    assert [len(queue.waiting) for queue in queues.queues] == [2, 2, 2]


def served(
    queues: QueueSet, waiting: dict[AnyTicket, str], running: list[AnyTicket], turns: int
) -> str:
    """Who is called in so many turns of a tenth of a second each."""
    order = ""
    for turn in range(turns):
        queues.finish(running.pop(), (turn + 1) / 10)
        called = [one for one in waiting if one.executing]
        assert len(called) == 1
        order += waiting.pop(called[0])
        running.append(called[0])
    return order


def test_a_flow_with_few_requests_is_not_held_up_by_one_with_many() -> None:
    queues = queue_set(1, queues=2, length=50)
    running = [ticket((0,))]
    queues.start(running[0], 0.0)
    waiting = {ticket((0,)): "e" for _ in range(20)} | {ticket((1,)): "m" for _ in range(3)}
    for one in waiting:
        queues.start(one, 0.0)
    assert served(queues, waiting, running, 8) == "mememeee"


def test_queues_with_work_get_equal_parts_of_the_seats() -> None:
    chance = random.Random(7)
    queues = queue_set(4, queues=3, length=1000)
    done: Counter[int] = Counter()
    running: list[tuple[float, int, AnyTicket]] = []
    for _ in range(600):
        for flow in range(3):
            queues.start(ticket((flow,)), 0.0)
    now = 0.0
    while sum(done.values()) < 600:
        executing = [one for one in queues.executing if one not in {t for _, _, t in running}]
        running += [(now + chance.uniform(0.01, 0.2), id(one), one) for one in executing]
        running.sort(key=lambda entry: entry[:2])
        now, _, finished = running.pop(0)
        assert finished.queue is not None
        done[finished.queue.index] += 1
        queues.finish(finished, now)
    assert max(done.values()) - min(done.values()) < 40


def test_a_wide_request_waits_until_there_is_room_and_nobody_overtakes_it() -> None:
    queues = queue_set(4, queues=2, length=10)
    small = [ticket((0,)) for _ in range(3)]
    for one in small:
        queues.start(one, 0.0)
    wide, late = ticket((1,), work(3)), ticket((1,))
    queues.start(wide, 0.0)
    queues.start(late, 0.0)
    assert not wide.executing
    assert not late.executing
    queues.finish(small[0], 1.0)
    assert not wide.executing
    queues.finish(small[1], 1.0)
    assert wide.executing


def test_a_request_wider_than_the_level_runs_alone() -> None:
    queues = queue_set(2, queues=1, length=10)
    wide, other = ticket((0,), work(5)), ticket((0,))
    queues.start(wide, 0.0)
    queues.start(other, 0.0)
    assert (wide.executing, other.executing) == (True, False)
    queues.finish(wide, 1.0)
    assert other.executing


def test_seats_linger_after_a_request() -> None:
    queues = queue_set(2, queues=1, length=10)
    first, second = ticket((0,), work(1, 2, 0.5)), ticket((0,))
    queues.start(first, 0.0)
    queues.start(second, 0.0)
    queues.finish(first, 1.0)
    assert not second.executing
    queues.release(first, 1.5)
    assert second.executing


def test_giving_up_leaves_the_queue_and_no_trace() -> None:
    queues = queue_set(1, queues=1, length=10)
    running, gone, last = (ticket((0,)) for _ in range(3))
    for one in (running, gone, last):
        queues.start(one, 0.0)
    queues.give_up(gone, 1.0)
    queues.finish(running, 2.0)
    assert last.executing
    queues.finish(last, 3.0)
    assert queues.idle
    assert (queues.seats_in_use, queues.seats_waiting, queues.cancelled) == (0, 0, 1)


def test_more_seats_call_those_that_wait() -> None:
    queues = queue_set(1, queues=2, length=10)
    tickets = [ticket((i % 2,)) for i in range(5)]
    for one in tickets:
        queues.start(one, 0.0)
    queues.set_limit(4, 1.0)
    assert sum(one.executing for one in tickets) == 4


def test_without_seats_nothing_starts_where_it_can_wait() -> None:
    queues = queue_set(0, queues=1, length=10)
    waiting = ticket((0,))
    queues.start(waiting, 0.0)
    assert not waiting.executing


def test_queues_that_are_too_many_drain_before_they_go() -> None:
    queues = queue_set(1, queues=4, length=10)
    running, waiting = ticket((3,)), ticket((3,))
    queues.start(running, 0.0)
    queues.start(waiting, 0.0)
    queues.configure(2, 10)
    assert len(queues.queues) == 4
    queues.finish(running, 1.0)
    queues.finish(waiting, 2.0)
    assert len(queues.queues) == 2
