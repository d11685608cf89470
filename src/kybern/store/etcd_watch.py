"""One watch of etcd that outlives its connections.

It reads one response at a time, so etcd's own flow control bounds what waits here, and it resumes
behind the last revision that it has read whole. What a fragmented response is cut into is put
together first, so the changes of one revision are handed out without a pause between them.
"""

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from kybern.rpc.client import Exchange, RpcError
from kybern.rpc.etcd import EtcdClient, EtcdError, proto
from kybern.store.interface import Change, Compacted, Progressed

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

# From these versions on progress tells the truth; before, it could overtake changes.
_TRUSTED_3_4 = (3, 4, 31)
_TRUSTED_3_5 = (3, 5, 13)


class Health(Protocol):
    """Who is told whether etcd answers."""

    def lost(self, why: str) -> None: ...

    def found(self) -> None: ...


class EtcdWatch(AsyncIterator[Change]):
    """Changes of a range of keys above a revision; raises Compacted."""

    def __init__(
        self,
        client: EtcdClient,
        keys: tuple[bytes, bytes],
        after_revision: int,
        *,
        change: Callable[[Any], Change],
        progressed: Progressed | None,
        health: Health,
        on_end: Callable[["EtcdWatch"], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._position = after_revision
        self._change = change
        self._progressed = progressed
        self._health = health
        self._on_end = on_end
        self._exchange: Exchange | None = None
        self._member = 0
        self._trusted = False
        self._pause = FIRST_PAUSE_SECONDS
        self._fragments: list[Any] = []
        self._ready: deque[Change] = deque()
        self._closed = asyncio.Event()

    @property
    def trusted(self) -> bool:
        """Whether progress that the member reports is true."""
        return self._trusted

    async def __anext__(self) -> Change:
        while not self._ready:
            if self._closed.is_set():
                raise StopAsyncIteration
            await self._receive()
        return self._ready.popleft()

    async def ask_for_progress(self) -> None:
        """Make the member say how far this watch is; without a connection there is no need."""
        if self._exchange is not None:
            request = proto.WatchRequest(progress_request=proto.WatchProgressRequest())
            with contextlib.suppress(RpcError):
                await self._exchange.send(request)

    async def aclose(self) -> None:
        self.end()

    def end(self) -> None:
        """Stop; idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            self._hang_up()
            self._on_end(self)

    async def _receive(self) -> None:
        """One response, or one try to get a connection back."""
        try:
            if self._exchange is None:
                await self._open()
            assert self._exchange is not None
            response = await self._exchange.receive()
        except (RpcError, EtcdError) as error:
            await self._lost(str(error))
        except asyncio.CancelledError:
            # grpcio tells that the end of the watch has cancelled the call in the same way; and
            # it cancels the call of a reader that is cancelled.
            self._hang_up()
            task = asyncio.current_task()
            if not self._closed.is_set() or (task is not None and task.cancelling()):
                raise
        else:
            await self._take(response)

    async def _open(self) -> None:
        status = await self._client.call(
            "Maintenance", "Status", proto.StatusRequest(), repeatable=False
        )
        self._trusted = trusts_progress(status.version)
        self._member, self._exchange = self._client.watch()
        create = proto.WatchCreateRequest(
            key=self._keys[0],
            range_end=self._keys[1],
            # One that is known already: where etcd is compacted to the very next, it may have
            # dropped a deletion of that revision, and only then it says so.
            start_revision=max(self._position, 1),
            progress_notify=True,
            prev_kv=True,
            fragment=True,
        )
        await self._exchange.send(proto.WatchRequest(create_request=create))

    async def _take(self, response: Any) -> None:
        if response.compact_revision:
            self.end()
            raise Compacted(response.compact_revision)
        if response.canceled:
            await self._lost(response.cancel_reason or "etcd has cancelled the watch")
            return
        if response.created:
            self._pause = FIRST_PAUSE_SECONDS
            self._health.found()
            return
        self._fragments.extend(response.events)
        if response.fragment:
            return
        events, self._fragments = self._fragments, []
        if events:
            changes = map(self._change, events)
            self._ready.extend(change for change in changes if change.revision > self._position)
            self._position = max(self._position, events[-1].kv.mod_revision)
        elif self._trusted and response.header.revision > self._position:
            self._position = response.header.revision
            if self._progressed is not None:
                self._progressed(self._position)

    async def _lost(self, why: str) -> None:
        log.warning("The watch of etcd is broken, to be resumed: %s", why)
        self._health.lost(why)
        self._hang_up()
        self._client.leave(self._member)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def _hang_up(self) -> None:
        self._fragments.clear()
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None


def trusts_progress(version: str) -> bool:
    """Whether a member of this version reports progress only behind the changes before it."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        return False
    numbers = tuple(map(int, found.groups()))
    return _TRUSTED_3_4 <= numbers < (3, 5, 0) or numbers >= _TRUSTED_3_5
