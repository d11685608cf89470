"""The agenda: what to do when, for all nodes and pods of one process.

One heap and one timer instead of a timer a pod. Due calls go to a fixed number of workers, so a
thousand pods that start at once become a steady stream of requests. An entry whose pod is gone does
nothing when it is due; there are never more than a few entries a pod and one a node.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable

from kybern.component.clock import Clock

logger = logging.getLogger(__name__)

Call = Callable[[], Awaitable[None]]


class Agenda:
    """Runs calls at their times (the clock's monotonic seconds)."""

    def __init__(self, clock: Clock, workers: int = 32) -> None:
        self._clock = clock
        self._workers = workers
        self._entries: list[tuple[float, int, Call]] = []
        self._sequence = 0
        self._due: asyncio.Queue[Call] = asyncio.Queue()
        self._earlier = asyncio.Event()

    def after(self, seconds: float, call: Call) -> None:
        """Run ``call`` once, that long from now."""
        self._sequence += 1
        when = self._clock.monotonic() + max(0.0, seconds)
        heapq.heappush(self._entries, (when, self._sequence, call))
        if self._entries[0][1] == self._sequence:
            self._earlier.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_time(), name="agenda")
            for number in range(self._workers):
                group.create_task(self._work(), name=f"agenda worker {number}")

    async def _watch_time(self) -> None:
        while True:
            now = self._clock.monotonic()
            while self._entries and self._entries[0][0] <= now:
                self._due.put_nowait(heapq.heappop(self._entries)[2])
            wait = self._entries[0][0] - now if self._entries else None
            self._earlier.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._earlier.wait()
            except TimeoutError:
                pass

    async def _work(self) -> None:
        while True:
            call = await self._due.get()
            try:
                await call()
            except Exception:
                # Calls handle what servers do; a defect in one must not stop all other pods.
                logger.exception("simulated node: step failed")
