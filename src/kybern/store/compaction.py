"""Regular compaction of a store that one process has to itself.

As upstream: every interval, to where the store was one interval before, so that a list can be
continued, and a watch resumed, for one to two intervals.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from kybern.store.interface import Compacted


class Compactable(Protocol):
    async def revision(self) -> int: ...

    async def compact(self, revision: int) -> None: ...


async def compact_alone(store: Compactable, interval: float) -> AsyncIterator[int]:
    """Yields what the store is compacted to; 0 seconds is never."""
    if not interval:
        return
    earlier = await store.revision()
    while True:
        await asyncio.sleep(interval)
        newest = await store.revision()
        try:
            await store.compact(earlier)
            yield earlier
        except Compacted as further:
            yield further.compacted_revision
        earlier = newest
