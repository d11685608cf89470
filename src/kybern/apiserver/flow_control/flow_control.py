"""The limiter of the pipeline: classifies a request, and gives it a place at its level.

Classification depends on who asks for what kind of thing, not on the object, so it is looked up
in a bounded table that is emptied whenever the configuration changes. The timer that adjusts the
levels' seats runs only while requests come.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.api.user import UserInfo
from kybern.apiserver.flow_control.bootstrap_objects import MANDATORY_SCHEMAS
from kybern.apiserver.flow_control.demand import PERIOD_SECONDS
from kybern.apiserver.flow_control.levels import PriorityLevel, PriorityLevels
from kybern.apiserver.flow_control.queue_set import TIME_OUT, Ticket
from kybern.apiserver.flow_control.schemas import FlowSchema
from kybern.apiserver.flow_control.statistics import FlowStatistics, Histogram
from kybern.apiserver.flow_control.work import ONE_SEAT, Stored, estimate
from kybern.apiserver.limiter import STREAMING_SUBRESOURCES, TurnedAway
from kybern.apiserver.request_info import RequestInfo
from kybern.component.clock import Clock
from kybern.component.duration import parse_duration

# Upstream wants a request answered in this time, unless it asks for less in ``timeout``; it may
# spend a quarter of that in a queue.
REQUEST_SECONDS = 60.0
WAITING_PART = 0.25
MAX_CLASSIFIED = 4096

_SCHEMA_HEADER = "X-Kubernetes-PF-FlowSchema-UID"
_LEVEL_HEADER = "X-Kubernetes-PF-PriorityLevel-UID"


@dataclass(frozen=True, slots=True)
class Flow:
    """What the requests of one classification share."""

    level: PriorityLevel
    schema: FlowSchema
    distinguisher: str
    hand: tuple[int, ...]
    statistics: FlowStatistics
    execution: Histogram
    headers: Mapping[str, str]


class FlowPlace(Ticket[Flow]):
    """A request's place at its level; ``user`` and ``info`` are shown in dumps."""

    __slots__ = ("control", "info", "user")

    control: "FlowControl"
    info: RequestInfo
    user: UserInfo

    @property
    def headers(self) -> Mapping[str, str]:
        return self.flow.headers

    async def turn(self) -> None:
        """Wait in the queue; raises TurnedAway if that takes too long."""
        await self.control.wait(self)

    def leave(self) -> None:
        """The request is answered."""
        control, flow = self.control, self.flow
        now = control.clock.monotonic()
        flow.execution.observe(now - self.started)
        flow.level.queue_set.finish(self, now)
        if self.work.linger_seconds or flow.level.quiescing:
            control.follow_up(self)


class FlowControl:
    """Priority and fairness of one server with so many ``seats``."""

    def __init__(self, seats: int, stored: Stored, clock: Clock) -> None:
        self.clock = clock
        self.levels = PriorityLevels(seats, clock.monotonic())
        self._stored = stored
        self._schemas: tuple[FlowSchema, ...] = ()
        self._flows: dict[tuple[object, ...], Flow] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._adjusted = clock.monotonic()
        self._objects: tuple[Collection[Obj], Collection[Obj]] = ((), ())
        self.configure((), ())

    def configure(self, levels: Collection[Obj], schemas: Collection[Obj]) -> None:
        """Follow the stored objects; FlowSchemas that name no stored level do not count."""
        self._objects = (levels, schemas)
        self.levels.configure(levels, self.clock.monotonic())
        names = {level["metadata"]["name"] for level in levels}
        found = [FlowSchema(obj) for obj in schemas]
        found = [schema for schema in found if schema.level in names]
        found.sort(key=lambda schema: (schema.precedence, schema.name))
        stored = {schema.name for schema in found}
        exempt, catch_all = (FlowSchema(obj) for obj in MANDATORY_SCHEMAS)
        if exempt.name not in stored:
            found.insert(0, exempt)
        if catch_all.name not in stored:
            found.append(catch_all)
        self._schemas = tuple(found)
        self._flows.clear()
        for level in self.levels.values():
            level.forget_statistics({schema.name for schema in found})

    def close(self) -> None:
        """Stop adjusting."""
        if self._timer is not None:
            self._timer.cancel()

    def enter(self, user: UserInfo, info: RequestInfo) -> FlowPlace | None:
        """A place, or None for a request that lasts as long as its client likes.

        Raises TurnedAway. A watch has its place until it is open.
        """
        if info.subresource in STREAMING_SUBRESOURCES or info.verb == "proxy":
            return None
        now = self.clock.monotonic()
        flow = self._classify(user, info)
        level = flow.level
        if info.verb == "get":
            work = ONE_SEAT
        else:
            work = estimate(info, level.max_seats, self._stored)
            if work is not ONE_SEAT:
                flow.statistics.seats.observe(work.seats)
        place = FlowPlace(flow, work)
        place.control, place.user, place.info = self, user, info
        refused = level.queue_set.start(place, now)
        if self._timer is None:
            self._wake(now)
        if refused:
            raise self._turned_away(flow, refused)
        return place

    async def wait(self, place: FlowPlace) -> None:
        """Until it is the turn of a place in a queue; raises TurnedAway."""
        loop = asyncio.get_running_loop()
        called: asyncio.Future[None] = loop.create_future()

        def call() -> None:
            if not called.done():
                called.set_result(None)

        place.called = call
        timer = loop.call_later(_longest_wait(place.info), call)
        try:
            await called
        except asyncio.CancelledError:
            self._abandon(place)
            raise
        finally:
            timer.cancel()
        statistics, waited = place.flow.statistics, self.clock.monotonic() - place.arrived
        if place.executing:
            statistics.waited.observe(waited)
            return
        statistics.waited_in_vain.observe(waited)
        self._abandon(place)
        raise self._turned_away(place.flow, TIME_OUT)

    def follow_up(self, place: FlowPlace) -> None:
        """What is left to do for a few requests that are answered."""
        if place.work.linger_seconds:
            loop = asyncio.get_running_loop()
            loop.call_later(place.work.linger_seconds, self._release, place)
        if place.flow.level.quiescing and place.flow.level.queue_set.idle:
            self.configure(*self._objects)

    def _release(self, place: FlowPlace) -> None:
        place.flow.level.queue_set.release(place, self.clock.monotonic())

    def _abandon(self, place: FlowPlace) -> None:
        """Nobody waits for this place any more."""
        if place.executing:
            place.leave()
        else:
            place.flow.level.queue_set.give_up(place, self.clock.monotonic())

    def _turned_away(self, flow: Flow, reason: str) -> TurnedAway:
        flow.statistics.reject(reason)
        seconds = flow.level.retry_after.refused(self.clock.time())
        return TurnedAway({"Retry-After": str(seconds), **flow.headers})

    def _classify(self, user: UserInfo, info: RequestInfo) -> Flow:
        key: tuple[object, ...]
        if info.is_resource_request:
            key = (
                user.name,
                user.groups,
                info.verb,
                info.resource,
                info.namespace,
                info.subresource,
                info.group,
            )
        else:
            key = (user.name, user.groups, info.verb, info.path)
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= MAX_CLASSIFIED:
                self._flows.clear()
            flow = self._flows[key] = self._flow(user, info)
        return flow

    def _flow(self, user: UserInfo, info: RequestInfo) -> Flow:
        # A user without groups matches no schema; the last is the catch-all.
        schema = next((one for one in self._schemas if one.matches(user, info)), self._schemas[-1])
        level = self.levels[schema.level]
        distinguisher = schema.distinguisher(user, info)
        statistics = level.statistics_of(schema.name)
        return Flow(
            level,
            schema,
            distinguisher,
            level.hand(schema.name, distinguisher),
            statistics,
            statistics.execution["watch" if info.verb == "watch" else "regular"],
            {_SCHEMA_HEADER: schema.uid, _LEVEL_HEADER: level.uid},
        )

    def _wake(self, now: float) -> None:
        """The first request after a rest: adjust now if that is overdue, and go on doing so."""
        if now - self._adjusted >= PERIOD_SECONDS:
            self._adjust(now)
        self._timer = asyncio.get_running_loop().call_later(PERIOD_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self.clock.monotonic()
        self._adjust(now)
        if any(level.queue_set.waiting for level in self.levels.values()):
            self._wake(now)

    def _adjust(self, now: float) -> None:
        self._adjusted = now
        self.levels.adjust(now)


def _longest_wait(info: RequestInfo) -> float:
    """Seconds that a request may spend in a queue."""
    try:
        asked = float(parse_duration(info.param("timeout") or "0"))
    except ValueError:
        asked = 0.0
    return WAITING_PART * (min(asked, REQUEST_SECONDS) if asked > 0 else REQUEST_SECONDS)
