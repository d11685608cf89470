"""Events as the scheduler writes them: events.k8s.io/v1, with an action, and repeated in a series.

Events that differ in nothing but their time and words are one: the second makes it a series, and
what follows is only counted here. A series is written again every half an hour, so that the server
keeps it, and a last time when nothing was added for six minutes; then it is forgotten, like an
event that was never repeated. ``event_writers.py`` writes in the background. Memory is bounded; the
times are client-go's.
"""

import asyncio
import platform
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import EVENTS_V1
from kybern.client.client import Client
from kybern.client.event_writers import REMEMBERED, EventWriters, create_event, reference_to
from kybern.component.clock import Clock

FINISH_SECONDS = 360.0
REFRESH_SECONDS = 1800.0

# Type, reason and action, and the values of the references.
_Key = tuple[str, ...]


@dataclass(slots=True)
class _Recorded:
    """An event that may be repeated; ``series`` is set with its second time."""

    body: Obj
    last: float
    series: Obj | None = None


class SeriesRecorder:
    """Records events as ``controller``, on this machine; close it to write what is queued.

    While ``is_busy()`` the component has more urgent calls to make than events are.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        controller: str,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._clock = clock
        self._controller = controller
        self._instance = f"{controller}-{platform.node()}"
        self._writers = EventWriters(self._write, is_busy)
        self._recorded: OrderedDict[_Key, _Recorded] = OrderedDict()
        self._tending: asyncio.Task[None] | None = None

    def event(
        self,
        regarding: Obj,
        type: str,
        reason: str,
        action: str,
        note: str,
        *,
        related: Obj | None = None,
    ) -> None:
        """Record a ``Normal`` or ``Warning`` event about an object, which another may have caused.

        ``action`` is what was done or tried; a note has 1024 bytes at most.
        """
        subject = reference_to(regarding)
        other = reference_to(related) if related is not None else {}
        key = (type, reason, action, *subject.values(), "", *other.values())
        known = self._recorded.get(key)
        if known is None:
            self._begin(key, self._body(subject, other, type, reason, action, note))
            return
        known.last = self._clock.time()
        seen = self._clock.micro_timestamp()
        if known.series is not None:
            known.series = {"count": known.series["count"] + 1, "lastObservedTime": seen}
            return
        known.series = {"count": 2, "lastObservedTime": seen}
        self._writers.put(subject, known)

    async def flush(self) -> None:
        """Wait until all that is to be written now was written or dropped."""
        await self._writers.flush()

    async def close(self) -> None:
        """Stop; what is still queued after a moment is dropped."""
        if self._tending is not None:
            self._tending.cancel()
        await self._writers.close()

    def _body(
        self, subject: Obj, other: Obj, type: str, reason: str, action: str, note: str
    ) -> Obj:
        body = {
            "apiVersion": EVENTS_V1.api_version,
            "kind": EVENTS_V1.kind,
            "metadata": {"namespace": subject.get("namespace") or "default"},
            "eventTime": self._clock.micro_timestamp(),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "regarding": subject,
            "note": note,
            "type": type,
        }
        if other:
            body["related"] = other
        return body

    def _begin(self, key: _Key, body: Obj) -> None:
        event = _Recorded(body, self._clock.time())
        if not self._writers.put(body["regarding"], event):
            return
        self._recorded[key] = event
        if len(self._recorded) > REMEMBERED:
            self._forget(next(iter(self._recorded)))
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="event series")

    async def _write(self, event: _Recorded) -> None:
        body, name = event.body, event.body["metadata"].get("name")
        if event.series is not None and name is not None:
            patch = {"series": event.series}
            try:
                await self._client.patch(EVENTS_V1, name, patch, body["metadata"]["namespace"])
                return
            except StatusError as error:
                if error.code != 404:
                    raise
            # The server has let go of it.
            body = {**body, "series": event.series}
        # Nothing of the answer is read, and it has to be converted for us.
        create = partial(self._client.create, EVENTS_V1, metadata_only=True)
        await create_event(create, self._clock, body, body["regarding"]["name"])

    async def _tend(self) -> None:
        """Finish events that are over, and refresh the series that go on."""
        refreshed = self._clock.time()
        while True:
            await asyncio.sleep(FINISH_SECONDS)
            now = self._clock.time()
            refreshes = now - refreshed >= REFRESH_SECONDS
            for key, event in list(self._recorded.items()):
                if event.last <= now - FINISH_SECONDS:
                    self._forget(key)
                elif refreshes and event.series is not None:
                    self._writers.put(event.body["regarding"], event)
            if refreshes:
                refreshed = now

    def _forget(self, key: _Key) -> None:
        event = self._recorded.pop(key)
        if event.series is not None:
            # What was counted since it became a series.
            self._writers.put(event.body["regarding"], event)
