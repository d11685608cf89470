"""A store whose creations of config maps stand still until the test lets them through."""

import asyncio

from kybern.store.interface import Entry
from kybern.store.memory import MemoryStore


class StalledStore(MemoryStore):
    """``waiting`` counts the creations that have arrived; ``open`` lets all of them through."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.open = asyncio.Event()

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> Entry:
        if "/configmaps/default/" in key:
            self.waiting += 1
            await self.open.wait()
        return await super().create(key, value, ttl=ttl)
