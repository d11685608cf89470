"""Events about objects, for people, as most components write them: core/v1, with a count.

``event()`` may be called anywhere; ``event_writers.py`` writes in the background. Repeated events
become one with a growing count; many similar ones (same reason, other messages) are combined; a
source that floods one object is cut off. Memory is bounded. The limits are client-go's.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import EVENTS
from kybern.client.client import Client
from kybern.client.event_writers import REMEMBERED, EventWriters, create_event, reference_to
from kybern.component.clock import Clock

SIMILAR_LIMIT = 10
SIMILAR_SECONDS = 600.0
BURST = 25
REFILL_PER_SECOND = 1 / 300


# What the event is about: apiVersion, kind, namespace, name, uid and fieldPath.
_Identity = tuple[str, str, str, str, str, str]


@dataclass(slots=True)
class _Written:
    """An event that exists on the server and is counted up."""

    name: str
    count: int


@dataclass(slots=True)
class _Similar:
    """Messages of one reason about one object, to notice a flood of variants."""

    since: float
    messages: set[str] = field(default_factory=set)


class EventRecorder:
    """Records events as ``component`` (on ``host``); close it to write what is queued."""

    def __init__(self, client: Client, clock: Clock, component: str, host: str = "") -> None:
        self._client = client
        self._clock = clock
        self._source = {"component": component, **({"host": host} if host else {})}
        self._writers = EventWriters(self._write)
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
        involved = reference_to(obj)
        if field_path:
            involved["fieldPath"] = field_path
        body = {"involvedObject": involved, "type": type, "reason": reason, "message": message}
        self._writers.put(involved, body)

    async def flush(self) -> None:
        """Wait until all recorded events were written or dropped."""
        await self._writers.flush()

    async def close(self) -> None:
        """Stop; what is still queued after a moment is dropped."""
        await self._writers.close()

    def _admits(self, identity: _Identity) -> bool:
        """A token bucket for each object: a burst, then one event in five minutes."""
        now = self._clock.time()
        tokens, since = self._tokens.pop(identity, (float(BURST), now))
        tokens = min(BURST, tokens + (now - since) * REFILL_PER_SECOND)
        _remember(self._tokens, identity, (max(tokens - 1, 0.0), now))
        return tokens >= 1

    async def _write(self, body: Obj) -> None:
        identity = _identity(body["involvedObject"])
        if not self._admits(identity):
            return
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
        subject = body["involvedObject"]["name"]
        await create_event(partial(self._client.create, EVENTS), self._clock, event, subject)
        _remember(self._written, key, _Written(event["metadata"]["name"], 1))

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
    """Keep what came last, up to the limit."""
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)


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
