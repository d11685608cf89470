"""The pod lifecycle event generator: notices what happened to containers by itself.

A list of all containers and sandboxes is compared with the last one; pods that differ are woken. It
is taken every second as upstream does, and at once when containerd tells of a task's end or start
(other runtimes have no such stream, and the list every second serves them).
"""

import asyncio
import logging
from collections.abc import Callable

from kybern.kubelet.cri import labels
from kybern.kubelet.cri.client import Runtime
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

RELIST_SECONDS = 1.0
# containerd tells of a task's end a moment before its CRI part has noted it down.
SETTLE_SECONDS = (0.0, 0.01, 0.05)
UNHEALTHY_AFTER = 180.0
RECONNECT_SECONDS = 1.0

Snapshot = dict[str, tuple[str, int]]


class Pleg:
    """Watches the runtime; ``on_change`` gets the UID of every pod that changed."""

    def __init__(self, runtime: Runtime, on_change: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._seen: Snapshot = {}
        self._hint = asyncio.Event()
        self._relisted: float | None = None
        self.pods: frozenset[str] = frozenset()

    def healthy(self) -> bool:
        """Whether the runtime has answered lately; the time counts from the first question."""
        now = asyncio.get_running_loop().time()
        if self._relisted is None:
            self._relisted = now
        return now - self._relisted < UNHEALTHY_AFTER

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._relist_for_ever())

    async def relist(self) -> bool:
        """Compare the runtime with the last look at it; True if anything changed."""
        snapshot: Snapshot = {}
        for item in await self._runtime.sandboxes():
            snapshot[item.id] = (item.labels.get(labels.POD_UID, ""), item.state)
        for item in await self._runtime.containers():
            snapshot[item.id] = (item.labels.get(labels.POD_UID, ""), item.state)
        changed: dict[str, None] = {}
        for identity, seen in snapshot.items():
            if self._seen.get(identity) != seen:
                changed[seen[0]] = None
        for identity, (uid, _) in self._seen.items():
            if identity not in snapshot:
                changed[uid] = None
        self._seen = snapshot
        self.pods = frozenset(uid for uid, _ in snapshot.values() if uid)
        self._relisted = asyncio.get_running_loop().time()
        for uid in changed:
            if uid:
                self._on_change(uid)
        return bool(changed)

    async def _relist_for_ever(self) -> None:
        while True:
            hinted = await self._next()
            for delay in SETTLE_SECONDS if hinted else (0.0,):
                await asyncio.sleep(delay)
                try:
                    if await self.relist():
                        break
                except RpcError as error:
                    logger.warning("the runtime does not list its containers: %s", error)
                    break

    async def _next(self) -> bool:
        """Wait for the time or an event; True if it was an event."""
        try:
            async with asyncio.timeout(RELIST_SECONDS):
                await self._hint.wait()
        except TimeoutError:
            return False
        self._hint.clear()
        return True

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in self._runtime.task_events():
                    self._hint.set()
            except RpcError as error:
                if error.code == "UNIMPLEMENTED":
                    return
            await asyncio.sleep(RECONNECT_SECONDS)
