"""Random concurrent clients against every store, checked against a model."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from history_checker import Recorder, check

from kybern.store.interface import Change, Store


async def record_and_check(store: Store, seed: int, clients: int, steps: int) -> None:
    recorder = Recorder(store, random.Random(seed))
    watch = store.watch("/k/", await store.revision())
    await asyncio.gather(*(recorder.client(5, steps) for _ in range(clients)))
    changes: list[Change] = []
    async with asyncio.timeout(10):
        while not changes or changes[-1].revision < await store.revision():
            changes.append(await anext(watch))
    check(recorder.operations, changes)


@pytest.mark.parametrize("seed", range(8))
async def test_any_history_has_an_explanation(
    open_store: Callable[[], Awaitable[Store]], seed: int
) -> None:
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    await record_and_check(await open_store(), seed, clients=8, steps=40)


@pytest.mark.long
async def test_any_history_of_many_seeds_has_an_explanation(
    open_store: Callable[[], Awaitable[Store]],
) -> None:
    for _ in range(100):
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
        await record_and_check(await open_store(), seed, clients=16, steps=60)
