"""Follows the store once for all resources, and knows how fresh the caches are.

One watch of the whole store keeps every cache at the same revision, so "as new as revision N" has
one meaning for all of them: a LIST that must be current asks the store how far it is and waits for
the feed. The verbs get each resource's cache here. If the feed loses its place (the store compacted
what it had not read), every cache is loaded anew and its watches end.
"""

import asyncio
import heapq
import logging
from itertools import count

from kybern.api.kinds import Kind
from kybern.apiserver.cache.compaction import compact_regularly
from kybern.apiserver.cache.objects import DerivedBudget
from kybern.apiserver.cache.options import too_large_resource_version
from kybern.apiserver.cache.resource import ResourceCache
from kybern.component.clock import Clock
from kybern.store.interface import Compacted, Store, StoreClosed

log = logging.getLogger(__name__)

ROOT = "/registry/"

# How long a request for a future revision waits before it is told to come back.
REACH_SECONDS = 3.0


class CacheSet:
    """The caches of all resources over one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.revision = 0
        self.compacted = 0
        self._budget = DerivedBudget()
        self._caches: dict[str, ResourceCache] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._task: asyncio.Task[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begin to follow the store, and load the caches that are known so far."""
        assert self._task is None, "start only once"
        self.revision = await self.store.revision()
        self._task = asyncio.create_task(self._follow(), name="cache-feed")
        self._compaction = asyncio.create_task(
            compact_regularly(self.store, self._forget_before), name="compaction"
        )
        for cache in list(self._caches.values()):
            await cache.start()

    async def close(self) -> None:
        """Stop following; end every watch. The store stays open."""
        self._closed = True
        tasks = [task for task in (self._task, self._compaction) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end()

    def _forget_before(self, revision: int) -> None:
        """The caches may know more than the store keeps; clients are to see no difference."""
        self.compacted = max(self.compacted, revision)

    @property
    def healthy(self) -> bool:
        """Whether the caches still follow the store."""
        return self._task is not None and not self._task.done()

    def cache(self, kind: Kind) -> ResourceCache:
        """The cache of a kind; ``await start()`` it once before its synchronous methods."""
        found = self._caches.get(kind.resource_prefix)
        if found is None:
            found = ResourceCache(kind, self.store, self, self._budget)
            self._caches[kind.resource_prefix] = found
        return found

    def drop(self, kind: Kind) -> None:
        """Forget a kind that is served no more; its watches end."""
        found = self._caches.pop(kind.resource_prefix, None)
        if found is not None:
            found.close()

    async def fresh_revision(self) -> int:
        """Wait until the caches show all that is committed now; their revision."""
        await self.seen(await self.store.revision())
        return self.revision

    async def reach(self, revision: int) -> int:
        """Wait a little for a revision; raises 504 if the store does not get there."""
        if revision > self.revision:
            try:
                async with asyncio.timeout(REACH_SECONDS):
                    await self.seen(revision)
            except TimeoutError:
                raise too_large_resource_version(revision, self.revision) from None
        return self.revision

    async def seen(self, revision: int) -> None:
        """Wait until a revision has been applied; raises StoreClosed if it never will be."""
        if revision <= self.revision:
            return
        if self._closed:
            raise StoreClosed("the caches no longer follow the store")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (revision, next(self._order), waiter))
        await waiter

    async def _follow(self) -> None:
        try:
            while True:
                try:
                    async for change in self.store.watch(ROOT, self.revision):
                        cache = self._find(change.key)
                        if cache is not None:
                            cache.apply(change)
                        self.revision = change.revision
                        self._wake()
                    return
                except Compacted:
                    log.warning("The store compacted what the caches had not read; loading anew.")
                    await self._reload()
        except StoreClosed as error:
            log.error("The caches stop: %s", error)
        finally:
            self._end()

    async def _reload(self) -> None:
        self.revision = await self.store.revision()
        for cache in list(self._caches.values()):
            if cache.loaded:
                await cache.reload()
        self._wake()

    def _find(self, key: str) -> ResourceCache | None:
        """The cache of a key's resource: its prefix is the key less one or two segments."""
        resource, _, _ = key.rpartition("/")
        found = self._caches.get(resource)
        return found if found is not None else self._caches.get(resource.rpartition("/")[0])

    def _wake(self) -> None:
        while self._waiters and self._waiters[0][0] <= self.revision:
            waiter = heapq.heappop(self._waiters)[2]
            if not waiter.done():
                waiter.set_result(None)

    def _end(self) -> None:
        """Nothing will change any more: end the watches and whoever waits for a revision."""
        self._closed = True
        for cache in self._caches.values():
            cache.close()
        for _, _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(StoreClosed("the caches no longer follow the store"))
        self._waiters.clear()
