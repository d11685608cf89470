"""File systems that do not answer hold up nobody but those who asked them."""

import asyncio
import threading

import pytest

from kybern.kubelet.volumes.apart import apart


async def test_many_that_wait_leave_the_loops_threads_to_others() -> None:
    answer = threading.Event()
    asked = [asyncio.create_task(apart(answer.wait)) for _ in range(50)]
    assert await asyncio.to_thread(lambda: "free") == "free"
    answer.set()
    assert await asyncio.gather(*asked) == [True] * 50


async def test_who_stops_waiting_is_free_at_once() -> None:
    answer = threading.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(apart(answer.wait), 0.01)
    answer.set()


async def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        await apart(divmod, 1, 0)
