"""A keyed queue: each key once, one worker a key, growing delays."""

import asyncio

import pytest

from kybern.client.work_queue import ShutDown, WorkQueue

pytestmark = pytest.mark.virtual_time


async def test_a_key_waits_only_once() -> None:
    queue = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_that_changes_during_its_work_comes_back() -> None:
    queue = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_failures_double_the_delay_until_the_key_is_forgotten() -> None:
    queue = WorkQueue(base_delay=1, max_delay=5)
    loop = asyncio.get_running_loop()
    delays = []
    for _ in range(4):
        before = loop.time()
        queue.add_rate_limited("a")
        queue.done(await queue.get())
        delays.append(round(loop.time() - before))
    assert delays == [1, 2, 4, 5]
    queue.forget("a")
    before = loop.time()
    queue.add_rate_limited("a")
    await queue.get()
    assert round(loop.time() - before) == 1


async def test_the_earlier_of_two_delays_counts() -> None:
    queue = WorkQueue()
    queue.add_after("a", 100)
    queue.add_after("a", 10)
    queue.add_after("a", 50)
    await queue.get()
    assert asyncio.get_running_loop().time() == pytest.approx(10)


async def test_closing_ends_the_workers() -> None:
    queue = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add_after("late", 5)
    queue.close()
    outcomes = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(outcome, ShutDown) for outcome in outcomes)
    queue.add("x")
    assert len(queue) == 0
