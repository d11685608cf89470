"""The scheduler's calls to the API server, many at a time.

Decisions never wait for the server: binds and status patches go through a queue to a number of
workers, so many are on their way at once. Who adds calls in a loop awaits ``room`` first, which
bounds the queue by ``limit`` plus the calls that workers themselves add.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

Call = Callable[[], Awaitable[None]]


class Outbox:
    """Runs calls in the order given, up to ``workers`` at once; ``limit`` may wait."""

    def __init__(self, name: str, workers: int, limit: int) -> None:
        self._name = name
        self._workers = workers
        self._limit = limit
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._has_room = asyncio.Event()

    async def room(self) -> None:
        """Wait until fewer than ``limit`` calls wait."""
        while self._calls.qsize() >= self._limit:
            self._has_room.clear()
            await self._has_room.wait()

    def add(self, call: Call) -> None:
        self._calls.put_nowait(call)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self._name} {number}")

    async def _work(self) -> None:
        while True:
            call = await self._calls.get()
            self._has_room.set()
            try:
                await call()
            except Exception:
                # A call handles its own expected failures; a defect in one must not stop the rest.
                logger.exception("%s: call failed", self._name)
