"""The kernel's call when memory use passes a bound (``kernelMemcgNotification``).

Between its looks the eviction loop sleeps on :meth:`MemoryAlarm.wait`; after each look it arms the
alarm anew, because what counts as used moves. Only cgroup version 1 has such notifications: with
version 2 the loop looks at its usual times, as upstream's does.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    MEMORY,
    Observations,
    Threshold,
)

logger = logging.getLogger(__name__)


class MemoryAlarm:
    """One node's; does nothing until it is armed."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._rung = asyncio.Event()
        self._events: list[int] = []

    def arm(self, thresholds: Iterable[Threshold], observations: Observations) -> None:
        """Have the kernel call when what is left of memory falls to one of the thresholds."""
        self.close()
        self._rung.clear()
        directories = {
            MEMORY: self._cgroups.memory_directory(""),
            ALLOCATABLE_MEMORY: self._cgroups.memory_directory(self._cgroups.root),
        }
        for threshold in thresholds:
            observed = observations.get(threshold.signal)
            directory = directories.get(threshold.signal)
            if observed is None or directory is None or threshold.met(observed):
                continue
            room = observed.available - threshold.value.of(observed.capacity)
            try:
                self._listen(directory, room)
            except (OSError, ValueError) as error:
                logger.warning("the kernel does not tell of memory in %s: %s", directory, error)

    def _listen(self, directory: Path, room: int) -> None:
        """Have an event when a cgroup uses that much more than now."""
        bound = int((directory / "memory.usage_in_bytes").read_text()) + room
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._events.append(event)
        watched = os.open(directory / "memory.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
        try:
            (directory / "cgroup.event_control").write_text(f"{event} {watched} {bound}")
        finally:
            os.close(watched)
        asyncio.get_running_loop().add_reader(event, self._ring, event)

    def _ring(self, event: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(event)
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Sleep until the kernel has called since the alarm was armed, that long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Forget what was asked of the kernel."""
        loop = asyncio.get_running_loop()
        for event in self._events:
            loop.remove_reader(event)
            os.close(event)
        self._events.clear()
