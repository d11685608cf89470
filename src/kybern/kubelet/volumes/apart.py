"""Calls into file systems that may not answer, each in a thread of its own.

A network volume whose server is gone, or a path of the machine that leads into one, holds its
caller for as long as the kernel likes. The event loop's few threads are everybody's, and a process
does not end before they are free; these threads hold up nothing but their callers. There are no
more of them than pods and volumes, since both do one thing at a time.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def apart(work: Callable[..., T], *arguments: Any) -> T:
    """What ``work`` returns; who stops waiting for it leaves it to itself."""
    outcome: Future[T] = Future()

    def run() -> None:
        if not outcome.set_running_or_notify_cancel():
            return
        try:
            outcome.set_result(work(*arguments))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="apart", daemon=True).start()
    return await asyncio.wrap_future(outcome)
