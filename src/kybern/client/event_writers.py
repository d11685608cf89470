"""Writes events in the background: what both recorders of events have in common.

``events.py`` and ``event_series.py`` hand over what is to be written; a few tasks write, the events
about one object always in their order. Queues are bounded, and an event that cannot be written is
dropped: events are hints. client-go's queues are shorter, but its scheduler starts a goroutine for
each event and so never fills one.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from kybern.api.errors import Obj, StatusError
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

WRITERS = 16
# For each writer; an event that waits takes about a kilobyte.
QUEUE_LIMIT = 2000
# While the component is busy so many write, the others once half of their queue is full.
WRITERS_WHILE_BUSY = 2
REMEMBERED = 4096
SAME_INSTANT_LIMIT = 50


class EventWriters(Generic[Item]):
    """Calls ``write`` for each item; close it to write what is queued.

    While ``is_busy()`` the component has more urgent calls to make than events are.
    """

    def __init__(
        self, write: Callable[[Item], Awaitable[None]], is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._write = write
        self._is_busy = is_busy
        self._turn = asyncio.Semaphore(WRITERS_WHILE_BUSY)
        self._queues: dict[int, asyncio.Queue[Item]] = {}
        self._writers: list[asyncio.Task[None]] = []
        self._dropped = 0

    def put(self, reference: Obj, item: Item) -> bool:
        """Queue an item about an object; whether there was room."""
        try:
            self._queue_of(reference).put_nowait(item)
        except asyncio.QueueFull:
            self._dropped += 1
            return False
        return True

    async def flush(self) -> None:
        """Wait until all items were written or dropped."""
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

    def _queue_of(self, reference: Obj) -> asyncio.Queue[Item]:
        """One writer has all events about an object, so none overtakes another."""
        object_key = reference.get("uid") or reference["name"]
        number = zlib.crc32(object_key.encode()) % WRITERS
        queue = self._queues.get(number)
        if queue is None:
            queue = self._queues[number] = asyncio.Queue(QUEUE_LIMIT)
            writing = asyncio.create_task(self._write_all(queue), name=f"event recorder {number}")
            self._writers.append(writing)
        return queue

    async def _write_all(self, queue: asyncio.Queue[Item]) -> None:
        while True:
            item = await queue.get()
            try:
                if queue.qsize() < QUEUE_LIMIT // 2 and self._is_busy():
                    async with self._turn:
                        await self._write(item)
                else:
                    await self._write(item)
            except (StatusError, ApiUnreachable) as error:
                logger.info("event dropped: %s", error)
            finally:
                queue.task_done()
            if self._dropped and queue.empty():
                # One line for a whole burst, once it is over.
                logger.warning("%d events dropped, the queue was full", self._dropped)
                self._dropped = 0


async def create_event(
    create: Callable[[Obj], Awaitable[Obj]], clock: Clock, event: Obj, subject: str
) -> None:
    """Create an event about the object of that name, under a name of its own; raises StatusError.

    Names end in nanoseconds; of two events in one instant the second takes the next one.
    """
    stamp = int(clock.time() * 1e9)
    for attempt in range(SAME_INSTANT_LIMIT):
        event["metadata"]["name"] = f"{subject}.{stamp + attempt:x}"
        try:
            await create(event)
            return
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
    raise StatusError(409, "AlreadyExists", f"too many events about {subject} in one instant")


def reference_to(obj: Obj) -> Obj:
    """What an event says of the object that it is about."""
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
