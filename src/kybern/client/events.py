"""Events about objects, for people: recorded without waiting, written in the background.

``event()`` may be called anywhere; a few tasks write, the events about one object always in their
order. Repeated events become one with a growing count; many similar ones (same reason, other
messages) are combined; a source that floods one object is cut off. Queues and memory are bounded,
and an event that cannot be written is dropped: events are hints. The limits are client-go's, but
for the queues': client-go's scheduler starts a goroutine for each event and so never fills one.
"""

import asyncio
import logging
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import EVENTS
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock

logger = logging.getLogger(__name__)

WRITERS = 16
# For each writer; an event that waits takes about a kilobyte.
QUEUE_LIMIT = 2000
# While the component is busy so many write, the others once half of their queue is full.
WRITERS_WHILE_BUSY = 2
COURTESY_SECONDS = 0.02
REMEMBERED = 4096
SIMILAR_LIMIT = 10
SIMILAR_SECONDS = 600.0
SAME_INSTANT_LIMIT = 50
BURST = 25
REFILL_PER_SECOND = 1 / 300


# What the event is about: apiVersion, kind, namespace, name, uid and fieldPath.
_Identity = tuple[str, str, str, str, str, str]
_Recorded = tuple[_Identity, Obj]


@dataclass(slots=True)
class _Written:
    """An event that exists on the server and is counted up."""

    name: str
    count: int
    first: str


@dataclass(slots=True)
class _Similar:
    """Messages of one reason about one object, to notice a flood of variants."""

    since: float
    messages: set[str] = field(default_factory=set)


class EventRecorder:
    """Records events as ``component`` (on ``host``); close it to write what is queued.

    While ``is_busy()`` the component has more urgent calls to make than events are.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        component: str,
        host: str = "",
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._clock = clock
        self._is_busy = is_busy
        self._writing = 0
        self._source = {"component": component, **({"host": host} if host else {})}
        self._queues: dict[int, asyncio.Queue[_Recorded]] = {}
        self._writers: list[asyncio.Task[None]] = []
        self._dropped = 0
        self._written: OrderedDict[tuple[str, ...], _Written] = OrderedDict()
        self._similar: OrderedDict[tuple[str, ...], _Similar] = OrderedDict()
        self._tokens: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def event(
        self,
        obj: Obj,
        type: str,
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """Record a ``Normal`` or ``Warning`` event about an object (kind and apiVersion set)."""
        involved = _reference(obj)
        if field_path:
            involved["fieldPath"] = field_path
        body = {"involvedObject": involved, "type": type, "reason": reason, "message": message}
        identity = _identity(involved)
        try:
            self._queue_of(identity).put_nowait((identity, body))
        except asyncio.QueueFull:
            self._dropped += 1

    async def flush(self) -> None:
        """Wait until all recorded events were written or dropped."""
        for queue in list(self._queues.values()):
            await queue.join()

    async def close(self) -> None:
        """Stop; what is still queued after a moment is dropped."""
        try:
            async with asyncio.timeout(1):
                await self.flush()
        except TimeoutError:
            waiting = sum(queue.qsize() for queue in self._queues.values())
            logger.info("%d events dropped at shutdown", waiting)
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        self._queues, self._writers = {}, []

    def _queue_of(self, identity: _Identity) -> asyncio.Queue[_Recorded]:
        """One writer has all events about an object, so none overtakes another."""
        number = zlib.crc32("/".join(identity).encode()) % WRITERS
        queue = self._queues.get(number)
        if queue is None:
            queue = self._queues[number] = asyncio.Queue(QUEUE_LIMIT)
            writing = asyncio.create_task(self._write_all(queue), name=f"event recorder {number}")
            self._writers.append(writing)
        return queue

    async def _write_all(self, queue: asyncio.Queue[_Recorded]) -> None:
        while True:
            identity, body = await queue.get()
            while self._gives_way(queue):
                await asyncio.sleep(COURTESY_SECONDS)
            self._writing += 1
            try:
                if self._admits(identity):
                    await self._write(identity, body)
            except (StatusError, ApiUnreachable) as error:
                logger.info("event dropped: %s: %s", body["reason"], error)
            finally:
                self._writing -= 1
                queue.task_done()
            if self._dropped and queue.empty():
                # One line for a whole burst, once it is over.
                logger.warning("%d events dropped, the queue was full", self._dropped)
                self._dropped = 0

    def _gives_way(self, queue: asyncio.Queue[_Recorded]) -> bool:
        is_roomy = queue.qsize() < QUEUE_LIMIT // 2
        return is_roomy and self._writing >= WRITERS_WHILE_BUSY and self._is_busy()

    def _admits(self, identity: _Identity) -> bool:
        """A token bucket for each object: a burst, then one event in five minutes."""
        now = self._clock.time()
        tokens, since = self._tokens.pop(identity, (float(BURST), now))
        tokens = min(BURST, tokens + (now - since) * REFILL_PER_SECOND)
        _remember(self._tokens, identity, (max(tokens - 1, 0.0), now))
        return tokens >= 1

    async def _write(self, identity: _Identity, body: Obj) -> None:
        body = self._combined(identity, body)
        key = (*identity, body["type"], body["reason"], body["message"])
        now = self._clock.timestamp()
        namespace = body["involvedObject"].get("namespace") or "default"
        known = self._written.get(key)
        if known is not None:
            patch = {"count": known.count + 1, "lastTimestamp": now, "message": body["message"]}
            try:
                await self._client.patch(EVENTS, known.name, patch, namespace)
                known.count += 1
                return
            except StatusError as error:
                if error.code != 404:
                    raise
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": namespace},
            **body,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        created = await self._create(event)
        _remember(self._written, key, _Written(created["metadata"]["name"], 1, now))

    async def _create(self, event: Obj) -> Obj:
        """Names end in nanoseconds; of two events in one instant the second takes the next one."""
        stamp = int(self._clock.time() * 1e9)
        subject = event["involvedObject"]["name"]
        for attempt in range(SAME_INSTANT_LIMIT):
            event["metadata"]["name"] = f"{subject}.{stamp + attempt:x}"
            try:
                return await self._client.create(EVENTS, event)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise StatusError(409, "AlreadyExists", f"too many events about {subject} in one instant")

    def _combined(self, identity: _Identity, body: Obj) -> Obj:
        key = (*identity, body["type"], body["reason"])
        now = self._clock.time()
        similar = self._similar.pop(key, None)
        if similar is None or now - similar.since > SIMILAR_SECONDS:
            similar = _Similar(now)
        if len(similar.messages) <= SIMILAR_LIMIT:
            similar.messages.add(body["message"])
        _remember(self._similar, key, similar)
        if len(similar.messages) <= SIMILAR_LIMIT:
            return body
        return {**body, "message": f"(combined from similar events): {body['message']}"}


def _remember(memory: OrderedDict, key: tuple[str, ...], value: object) -> None:  # type: ignore[type-arg]
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)


def _reference(obj: Obj) -> Obj:
    meta = obj["metadata"]
    reference = {
        "kind": obj.get("kind", ""),
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "uid": meta.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": meta.get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}


def _identity(reference: Obj) -> _Identity:
    read = reference.get
    return (
        read("apiVersion", ""),
        read("kind", ""),
        read("namespace", ""),
        read("name", ""),
        read("uid", ""),
        read("fieldPath", ""),
    )
