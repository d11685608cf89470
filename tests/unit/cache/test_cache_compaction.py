"""The regular compaction keeps one interval of history, and the caches know of it."""

import asyncio

from kybern.apiserver.cache import CacheSet
from kybern.component.clock import Clock
from kybern.store.interface import Compacted, Store
from kybern.store.memory import MemoryStore


async def until_compacted(store: Store, revision: int) -> None:
    """Wait until a revision can be read no more."""
    async with asyncio.timeout(5):
        while True:
            try:
                await store.list("/", revision=revision)
            except Compacted:
                return
            await asyncio.sleep(0)


async def test_each_round_compacts_to_where_the_last_one_was() -> None:
    store = MemoryStore()
    caches = CacheSet(store, Clock(), compaction_interval=0.001)
    await caches.start()
    entry = await store.create("/a", b"1")
    entry = await store.update("/a", b"2", entry.mod_revision)
    await until_compacted(store, entry.mod_revision - 1)
    assert list((await store.list("/", revision=entry.mod_revision)).entries) == [entry]
    async with asyncio.timeout(5):
        while caches.compacted < entry.mod_revision - 1:
            await asyncio.sleep(0)
    await caches.close()
    await store.close()


async def test_no_interval_keeps_all_history() -> None:
    store = MemoryStore()
    assert [revision async for revision in store.compactions(0)] == []
