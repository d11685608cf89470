"""Fair queuing of one priority level's requests onto its seats.

Pure: times are handed in, and a request that waits is called back when its turn has come. A request
joins the shortest queue of its flow's hand. Each queue has a start on a progress meter R, which
runs at the rate at which the level serves one queue; the queue whose oldest request would finish
first on that meter goes next, so that each queue with work gets an equal part of the seats.

What waits is bounded by the number of queues and their length limit. The invariants are upstream's:
an idle queue starts at the present R, no queue starts before its oldest request arrived, and what
was charged for an estimated duration is corrected when the real one is known.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from kybern.apiserver.flow_control.demand import SeatDemand
from kybern.apiserver.flow_control.statistics import FlowStatistics
from kybern.apiserver.flow_control.work import ESTIMATED_SECONDS, Work

CONCURRENCY_LIMIT = "concurrency-limit"
QUEUE_FULL = "queue-full"
TIME_OUT = "time-out"


class Kin(Protocol):
    """What the requests of one flow share: the queues they may wait in, and what counts them."""

    @property
    def hand(self) -> tuple[int, ...]: ...

    @property
    def statistics(self) -> FlowStatistics: ...


KinT = TypeVar("KinT", bound=Kin)


class Ticket(Generic[KinT]):
    """A request's place: in a queue until ``executing``, then on its seats.

    ``called`` is set by whoever waits for the turn of a ticket that did not get it at once.
    """

    __slots__ = (
        "arrival_r",
        "arrived",
        "called",
        "executing",
        "flow",
        "queue",
        "started",
        "work",
    )

    arrived: float
    arrival_r: float
    started: float

    def __init__(self, flow: KinT, work: Work) -> None:
        self.flow = flow
        self.work = work
        self.queue: Queue | None = None
        self.called: Callable[[], None] | None = None
        self.executing = False


AnyTicket = Ticket[Any]


class Queue:
    """Requests that wait in order of arrival, and the account of those that it sent off."""

    __slots__ = ("executing", "index", "next_r", "seats_in_use", "waiting", "waiting_work")

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: deque[AnyTicket] = deque()
        self.waiting_work = 0.0
        self.executing = 0
        self.seats_in_use = 0
        self.next_r = 0.0

    @property
    def idle(self) -> bool:
        return not self.executing and not self.waiting

    def bound(self) -> None:
        """No start before the arrival of the request that it is the start of."""
        if self.waiting and self.next_r < self.waiting[0].arrival_r:
            self.next_r = self.waiting[0].arrival_r


@dataclass(frozen=True, slots=True)
class LastDispatch:
    """R and the chosen queue's start at the last dispatch, and the bounds over all queues."""

    r: float = 0.0
    start: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    lowest_discounted: float = 0.0
    highest_discounted: float = 0.0


class QueueSet:
    """The queues and seats of one level. ``limit`` is how many seats it has for now.

    With no queues wanted, requests are refused instead of queued; without ``limited`` there is no
    limit, and only the demand is counted.
    """

    def __init__(self, now: float, *, limited: bool = True) -> None:
        self.limited = limited
        self.limit = 0
        self.queues: list[Queue] = []
        self.queues_wanted = 0
        self.length_limit = 0
        self.demand = SeatDemand(now)
        self.current_r = 0.0
        self.waiting = self.seats_in_use = self.seats_waiting = 0
        self.rejected = self.cancelled = 0
        self.executing: dict[AnyTicket, None] = {}
        self.lingering: dict[AnyTicket, None] = {}
        self.last_dispatch = LastDispatch()
        self._now = now
        self._active = 0
        self._enqueued = 0
        self._robin = 0
        self._crowded: dict[int, Queue] = {}

    @property
    def idle(self) -> bool:
        return not self.executing and not self.waiting

    def configure(self, queues: int, length_limit: int) -> None:
        """Queues that are too many stay until they have drained."""
        self.queues_wanted, self.length_limit = queues, length_limit
        while len(self.queues) < queues:
            self.queues.append(Queue(len(self.queues)))
        self._drop_idle_queues()

    def set_limit(self, limit: int, now: float) -> None:
        self._pass_time(now)
        self.limit = limit
        self._dispatch(now)

    def start(self, ticket: AnyTicket, now: float) -> str:
        """Seat the request or queue it; the reason if it is refused."""
        self._pass_time(now)
        ticket.arrived, ticket.arrival_r = now, self.current_r
        seats = ticket.work.seats
        if not self.queues_wanted:
            if not self._fits(seats):
                self.rejected += 1
                return CONCURRENCY_LIMIT
            self._execute(ticket, now)
            return ""
        queue = ticket.queue = self._choose(ticket.flow.hand)
        if self.seats_in_use >= self.limit and len(queue.waiting) >= self.length_limit:
            self.rejected += 1
            return QUEUE_FULL
        if queue.idle:
            queue.next_r = self.current_r
            self._active += 1
        if not self.waiting and self.seats_in_use < self.limit and self._fits(seats):
            # Nobody is ahead, so the request does not have to be queued to be called at once.
            if queue.next_r < self.current_r:
                queue.next_r = self.current_r
            self._robin = queue.index
            self._execute(ticket, now)
            return ""
        self._enqueue(ticket, queue)
        self._dispatch(now)
        return ""

    def finish(self, ticket: AnyTicket, now: float) -> None:
        """The request was carried out; its seats are free unless its work lingers."""
        self._pass_time(now)
        del self.executing[ticket]
        queue, work = ticket.queue, ticket.work
        if queue is not None:
            queue.executing -= 1
            queue.next_r -= work.initial_seats * (ESTIMATED_SECONDS - (now - ticket.started))
            if queue.waiting:
                queue.bound()
            elif not queue.executing:
                self._active -= 1
        if work.linger_seconds:
            self.lingering[ticket] = None
        else:
            self._release(ticket)
        if self.waiting:
            self._dispatch(now)

    def release(self, ticket: AnyTicket, now: float) -> None:
        """The work that lingered after a request is done."""
        self._pass_time(now)
        del self.lingering[ticket]
        self._release(ticket)
        self._dispatch(now)

    def give_up(self, ticket: AnyTicket, now: float) -> None:
        """Take a request out of its queue."""
        self._pass_time(now)
        queue = ticket.queue
        assert queue is not None, "only a request in a queue can give up waiting"
        queue.waiting.remove(ticket)
        self._left_queue(ticket, queue)
        if queue.idle:
            self._active -= 1
        queue.bound()
        self.rejected += 1
        self.cancelled += 1
        self._dispatch(now)

    def settle_demand(self, now: float) -> None:
        """End a period of the demand's statistics."""
        self._pass_time(now)
        self.demand.settle(self.seats_in_use + self.seats_waiting, now)

    def _pass_time(self, now: float) -> None:
        """Account for the time in which nothing has changed."""
        seconds = now - self._now
        if seconds <= 0:
            return
        self._now = now
        wanted = self.seats_in_use + self.seats_waiting
        demand, weighted = self.demand, wanted * seconds
        demand.integral += weighted
        demand.squares += wanted * weighted
        if self._active:
            served = wanted if wanted < self.limit else self.limit
            self.current_r += served / self._active * seconds

    def _fits(self, seats: int) -> bool:
        if not self.limited:
            return True
        if seats > self.limit:
            # It will never fit, so it runs alone.
            return not self.executing
        return self.seats_in_use + seats <= self.limit

    def _choose(self, hand: tuple[int, ...]) -> Queue:
        """The queue of the hand with the least work waiting; the first look goes round."""
        first = self._enqueued % len(hand)
        self._enqueued += 1
        queues = self.queues
        best = queues[hand[first]]
        if best.waiting_work:
            for index in (*hand[first + 1 :], *hand[:first]):
                if queues[index].waiting_work < best.waiting_work:
                    best = queues[index]
        return best

    def _enqueue(self, ticket: AnyTicket, queue: Queue) -> None:
        work, statistics = ticket.work, ticket.flow.statistics
        queue.waiting.append(ticket)
        queue.waiting_work += work.total
        queue.bound()
        self._crowded[queue.index] = queue
        self.waiting += 1
        self.seats_waiting += work.seats
        statistics.queued(work.seats, len(queue.waiting))
        self.demand.peak = max(self.demand.peak, self.seats_in_use + self.seats_waiting)

    def _left_queue(self, ticket: AnyTicket, queue: Queue) -> None:
        work = ticket.work
        if queue.waiting:
            queue.waiting_work -= work.total
        else:
            queue.waiting_work = 0.0
            del self._crowded[queue.index]
        self.waiting -= 1
        self.seats_waiting -= work.seats
        ticket.flow.statistics.unqueued(work.seats)

    def _dispatch(self, now: float) -> None:
        """Call requests as long as there are seats for the next."""
        while self.waiting and self.seats_in_use < self.limit:
            queue = self._next_queue()
            ticket = queue.waiting[0]
            if not self._fits(ticket.work.seats):
                ticket.flow.statistics.unaccommodated += 1
                return
            self._note_dispatch(queue)
            self._robin = queue.index
            queue.waiting.popleft()
            self._left_queue(ticket, queue)
            self._execute(ticket, now)
            queue.bound()
            if ticket.called is not None:
                ticket.called()

    def _next_queue(self) -> Queue:
        """The queue whose oldest request finishes first; of equals, the next one round."""
        count, after = len(self.queues), self._robin + 1
        return min(
            self._crowded.values(),
            key=lambda queue: (
                queue.next_r + queue.waiting[0].work.total,
                (queue.index - after) % count,
            ),
        )

    def _note_dispatch(self, chosen: Queue) -> None:
        starts = [queue.next_r for queue in self._crowded.values()]
        discounted = [
            queue.next_r - queue.seats_in_use * ESTIMATED_SECONDS
            for queue in self._crowded.values()
        ]
        self.last_dispatch = LastDispatch(
            self.current_r,
            chosen.next_r,
            min(starts),
            max(starts),
            min(discounted),
            max(discounted),
        )

    def _execute(self, ticket: AnyTicket, now: float) -> None:
        ticket.executing = True
        ticket.started = now
        work, queue = ticket.work, ticket.queue
        seats = work.seats
        self.executing[ticket] = None
        self.seats_in_use += seats
        if queue is not None:
            queue.executing += 1
            queue.seats_in_use += seats
            queue.next_r += work.total
        ticket.flow.statistics.dispatched += 1
        wanted = self.seats_in_use + self.seats_waiting
        if wanted > self.demand.peak:
            self.demand.peak = wanted

    def _release(self, ticket: AnyTicket) -> None:
        seats, queue = ticket.work.seats, ticket.queue
        self.seats_in_use -= seats
        if queue is not None:
            queue.seats_in_use -= seats
            if len(self.queues) > self.queues_wanted:
                self._drop_idle_queues()

    def _drop_idle_queues(self) -> None:
        while len(self.queues) > self.queues_wanted and self.queues[-1].idle:
            self.queues.pop()
