"""A keyed work queue: many changes to one key become one piece of work.

Informer handlers add keys, workers take them. A key that is added while it is being worked on
comes back once the work is done; a key that fails comes back after a delay that doubles. The queue
holds each key at most once, so it is bounded by the number of objects. The semantics are those of
client-go's workqueue.
"""

import asyncio
from collections import deque

BASE_DELAY_SECONDS = 0.005
MAX_DELAY_SECONDS = 1000.0


class ShutDown(Exception):
    """The queue was closed; a worker that waits in :meth:`WorkQueue.get` ends with this."""


class WorkQueue:
    """Keys in order of their first addition; one worker at a time holds a key."""

    def __init__(
        self, base_delay: float = BASE_DELAY_SECONDS, max_delay: float = MAX_DELAY_SECONDS
    ) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is worked on; delayed keys do not count."""
        return not self._waiting and not self._working

    def add(self, key: str) -> None:
        """Queue a key, unless it waits already."""
        if self._closed or key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Queue a key later; the earlier of two delays counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def add_rate_limited(self, key: str) -> None:
        """Queue a key after a delay that doubles with every failure."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._base_delay * 2 ** min(failures, 30), self._max_delay))

    def failures(self, key: str) -> int:
        """How often the key was rate limited since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """The key succeeded: its next failure starts from the base delay."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key; call :meth:`done` with it afterwards. Raises ShutDown."""
        while not self._ready:
            if self._closed:
                raise ShutDown
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        if self._ready or self._closed:
            self._wake.set()
        return key

    def done(self, key: str) -> None:
        """The work on a key is over; if it was added meanwhile it is ready again."""
        self._working.discard(key)
        if key in self._waiting and not self._closed:
            self._ready.append(key)
            self._wake.set()

    def close(self) -> None:
        """Drop what waits and end all workers."""
        self._closed = True
        self._ready.clear()
        self._waiting.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wake.set()
