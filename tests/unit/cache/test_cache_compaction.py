"""The regular compaction keeps one interval of history."""

import asyncio

import pytest

from kybern.apiserver.cache.compaction import compact_regularly
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


async def test_each_round_compacts_to_where_the_last_one_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kybern.apiserver.cache.compaction.INTERVAL_SECONDS", 0.001)
    store = MemoryStore()
    told: list[int] = []
    task = asyncio.create_task(compact_regularly(store, told.append))
    await asyncio.sleep(0)
    entry = await store.create("/a", b"1")
    entry = await store.update("/a", b"2", entry.mod_revision)
    await until_compacted(store, entry.mod_revision - 1)
    assert list((await store.list("/", revision=entry.mod_revision)).entries) == [entry]
    assert told == sorted(told)
    assert told[-1] >= entry.mod_revision - 1
    await store.close()
    async with asyncio.timeout(5):
        await task
