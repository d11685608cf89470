"""Random arrivals, ends, timeouts and changes of configuration: no seat or request is ever lost."""

import random
from dataclasses import dataclass, field

import pytest

from kybern.apiserver.flow_control.queue_set import AnyTicket, QueueSet, Ticket
from kybern.apiserver.flow_control.shuffle_sharding import deal, flow_hash
from kybern.apiserver.flow_control.statistics import FlowStatistics
from kybern.apiserver.flow_control.work import ONE_SEAT, work

SEEDS = range(12)
STEPS = 1500
WORKS = (ONE_SEAT, ONE_SEAT, ONE_SEAT, work(3), work(1, 4, 0.5))


@dataclass(frozen=True)
class Flow:
    hand: tuple[int, ...]
    statistics: FlowStatistics


@dataclass
class World:
    """A queue set, and what the test knows about it. ``log`` tells two runs of a seed apart."""

    chance: random.Random
    queues: QueueSet = field(default_factory=lambda: QueueSet(0.0))
    statistics: FlowStatistics = field(default_factory=FlowStatistics)
    tickets: dict[AnyTicket, int] = field(default_factory=dict)
    lingering: dict[AnyTicket, None] = field(default_factory=dict)
    log: list[tuple[object, ...]] = field(default_factory=list)
    now: float = 0.0
    arrived: int = 0

    def step(self) -> None:
        self.now += self.chance.expovariate(200.0)
        deed = self.chance.choices(
            [self.arrive, self.end, self.give_up, self.settle, self.limit, self.configure],
            [10, 9, 1, 3, 0.3, 0.1],
        )[0]
        deed()
        self.check()

    def arrive(self) -> None:
        queues = self.queues.queues_wanted
        flow = flow_hash("schema", str(self.chance.randrange(5)))
        hand = deal(flow, queues, min(3, queues)) if queues else ()
        ticket: AnyTicket = Ticket(Flow(hand, self.statistics), self.chance.choice(WORKS))
        self.arrived += 1
        alone = not self.queues.executing
        refused = self.queues.start(ticket, self.now)
        assert not ticket.executing or alone or self.queues.seats_in_use <= self.queues.limit
        self.log.append((self.arrived, refused, ticket.executing))
        if not refused:
            self.tickets[ticket] = self.arrived

    def end(self) -> None:
        running = [ticket for ticket in self.tickets if ticket.executing]
        if running:
            ticket = self.chance.choice(running)
            self.log.append(("end", self.tickets.pop(ticket)))
            self.queues.finish(ticket, self.now)
            if ticket.work.linger_seconds:
                self.lingering[ticket] = None

    def give_up(self) -> None:
        waiting = [ticket for ticket in self.tickets if not ticket.executing]
        if waiting:
            ticket = self.chance.choice(waiting)
            del self.tickets[ticket]
            self.queues.give_up(ticket, self.now)

    def settle(self) -> None:
        if self.lingering:
            ticket = next(iter(self.lingering))
            del self.lingering[ticket]
            self.queues.release(ticket, self.now)

    def limit(self) -> None:
        self.queues.set_limit(self.chance.randrange(9), self.now)

    def configure(self) -> None:
        self.queues.configure(self.chance.choice((0, 1, 4, 8)), self.chance.choice((1, 20)))

    def check(self) -> None:
        queues, running = self.queues, [t for t in self.tickets if t.executing]
        waiting = [ticket for ticket in self.tickets if not ticket.executing]
        assert set(queues.executing) == set(running)
        assert queues.waiting == len(waiting) == sum(len(q.waiting) for q in queues.queues)
        held = [ticket.work.seats for ticket in (*running, *self.lingering)]
        assert queues.seats_in_use == sum(held)
        assert queues.seats_waiting == sum(ticket.work.seats for ticket in waiting)
        assert self.statistics.in_queue == len(waiting)
        for queue in queues.queues:
            assert queue.executing == sum(ticket.queue is queue for ticket in running)
            if queue.waiting:
                assert queue.next_r >= queue.waiting[0].arrival_r


def run(seed: int) -> World:
    world = World(random.Random(seed))
    world.queues.configure(4, 20)
    world.queues.set_limit(5, 0.0)
    for _ in range(STEPS):
        world.step()
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seat_and_request_is_accounted_for_until_all_have_gone(seed: int) -> None:
    world = run(seed)
    world.queues.set_limit(5, world.now)
    while world.tickets or world.lingering:
        world.now += 0.01
        before = len(world.tickets) + len(world.lingering)
        world.end()
        world.settle()
        world.check()
        assert len(world.tickets) + len(world.lingering) <= before
    queues = world.queues
    assert queues.idle
    assert (queues.seats_in_use, queues.seats_waiting, queues.waiting) == (0, 0, 0)
    assert all(queue.idle and not queue.waiting_work for queue in queues.queues)
    held_before = queues.current_r
    queues.set_limit(5, world.now + 100.0)
    assert queues.current_r == held_before


def test_a_seed_replays() -> None:
    assert run(3).log == run(3).log
