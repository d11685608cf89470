"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

Everything in the house waits with plain asyncio and reads the date from its Clock, so on
:class:`VirtualTimeLoop` an hour of a cluster's life passes in the milliseconds that its work
takes, and a seed replays it exactly. No sockets, threads or subprocesses belong on this loop while
it jumps by itself; where outside clients take part, create it with ``autojump=False`` and move time
with :func:`advance`.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from kybern.component.clock import Clock

T = TypeVar("T")

# 2030-01-01T00:00:00Z: a date that no test confuses with the real one.
EPOCH = 1893456000.0
STUCK_SECONDS = 30.0


class Stuck(RuntimeError):
    """Nothing is left that could ever wake the loop: the tasks wait for each other."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for input as usual, but lets virtual time pass in place of real waiting."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None and self.loop.pass_time(timeout):
            return []
        if self.loop.jumping:
            ready = super().select(STUCK_SECONDS)
            if not ready:
                raise Stuck("no timer and no input is left; every task waits for another")
            return ready
        return super().select(None)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose ``time()`` starts at 0 and moves only when nothing is left to do."""

    def __init__(self, autojump: bool = True) -> None:
        self._now = 0.0
        self._limit = float("inf") if autojump else 0.0
        self._arrived: asyncio.Future[None] | None = None
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    @property
    def jumping(self) -> bool:
        """Whether time passes by itself."""
        return self._limit == float("inf")

    def time(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> bool:
        """Jump ahead to the next timer, but not past the limit; False if the limit is reached."""
        if self._now + seconds <= self._limit:
            self._now += seconds
            return True
        self._now = max(self._limit, self._now)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
            return True
        return False

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, with all that falls due in them; for loops without autojump."""
        if self.jumping:
            await asyncio.sleep(seconds)
            return
        self._limit = self._now + seconds
        self._arrived = self.create_future()
        # A timer just beyond the limit makes the selector ask, however idle the loop is.
        beyond = self.call_later(seconds + 1e-3, lambda: None)
        try:
            await self._arrived
        finally:
            beyond.cancel()
            self._arrived = None


async def advance(seconds: float) -> None:
    """Let virtual time pass on the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop), "advance() needs a VirtualTimeLoop"
    await loop.advance(seconds)


class VirtualClock(Clock):
    """The date, as the running virtual loop's time goes on from :data:`EPOCH`."""

    def __init__(self, seed: int | None = 0, epoch: float = EPOCH) -> None:
        super().__init__(seed)
        self._epoch = epoch

    def time(self) -> float:
        return self._epoch + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T], *, autojump: bool = True) -> T:
    """``asyncio.run`` on virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(autojump)) as runner:
        return runner.run(main)
