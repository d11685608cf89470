"""Follows the store once for all resources, and knows how fresh the caches are.

One watch of the whole store keeps every cache at the same revision, so "as new as revision N" has
one meaning for all of them: a LIST that must be current asks the store how far it is and waits for
the feed. The verbs get each resource's cache here. If the feed loses its place (the store compacted
what it had not read), every cache is loaded anew and its watches end.

A store that other servers share is different in two ways. Every read that must be current and every
write first waits until the caches show what others have done (:meth:`CacheSet.catch_up`). And its
revision may move without a change that the feed sees, so while somebody waits, the store is nudged.
"""

import asyncio
import contextlib
import heapq
import logging
from itertools import count

from kybern.api.kinds import Kind
from kybern.apiserver.cache.objects import DerivedBudget
from kybern.apiserver.cache.options import too_large_resource_version
from kybern.apiserver.cache.resource import ResourceCache
from kybern.component.clock import Clock
from kybern.store.interface import Compacted, Store, StoreClosed, StoreFailed

log = logging.getLogger(__name__)

ROOT = "/registry/"

# How long a request for a future revision waits before it is told to come back.
REACH_SECONDS = 3.0

# Upstream's: the history that is kept for watches and continued lists.
COMPACTION_SECONDS = 300.0

# How long a shared store keeps an event after its last change.
EVENT_TTL_SECONDS = 3600

# How long a change may be on its way before a shared store is nudged; upstream asks as often.
NUDGE_SECONDS = 0.1
RELOAD_SECONDS = 1.0


class CacheSet:
    """The caches of all resources over one store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        compaction_interval: float = COMPACTION_SECONDS,
        event_ttl: int = EVENT_TTL_SECONDS,
    ) -> None:
        self.store = store
        self.clock = clock
        self.revision = 0
        self.compacted = 0
        self._compaction_interval = compaction_interval
        self._event_ttl = event_ttl
        self._budget = DerivedBudget()
        self._caches: dict[str, ResourceCache] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._task: asyncio.Task[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._nudging: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begin to follow the store, and load the caches that are known so far."""
        assert self._task is None, "start only once"
        self.revision = await self.store.revision()
        self._task = asyncio.create_task(self._follow(), name="cache-feed")
        self._compaction = asyncio.create_task(self._compact(), name="compaction")
        for cache in list(self._caches.values()):
            await cache.start()

    async def close(self) -> None:
        """Stop following; end every watch. The store stays open."""
        self._closed = True
        known = (self._task, self._compaction, self._nudging)
        tasks = [task for task in known if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end()

    async def _compact(self) -> None:
        """The caches may know more than the store keeps; clients are to see no difference."""
        try:
            async for revision in self.store.compactions(self._compaction_interval):
                self.compacted = max(self.compacted, revision)
        except StoreClosed as error:
            log.info("Compaction stops: %s", error)

    @property
    def problem(self) -> str:
        """Why the caches do not follow the store; empty while they do."""
        if self._task is None or self._task.done():
            return "the caches no longer follow the store"
        return self.store.problem

    def cache(self, kind: Kind) -> ResourceCache:
        """The cache of a kind; ``await start()`` it once before its synchronous methods."""
        found = self._caches.get(kind.resource_prefix)
        if found is None:
            ttl = self._event_ttl if kind.plural == "events" and not kind.group else 0
            found = ResourceCache(kind, self.store, self, self._budget, ttl)
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

    async def catch_up(self) -> None:
        """Wait until the caches show what other servers have done so far."""
        if self.store.shared:
            await self.fresh_revision()

    async def reach(self, revision: int) -> int:
        """Wait a little for a revision; raises 504 if the store does not get there."""
        if revision > self.revision:
            try:
                async with asyncio.timeout(REACH_SECONDS):
                    await self._wait_for(revision)
            except TimeoutError:
                raise too_large_resource_version(revision, self.revision) from None
        return self.revision

    async def seen(self, revision: int) -> None:
        """Wait until a committed revision has been applied; raises StoreClosed if it never will be.

        What a store elsewhere has committed may be long in coming, which is a 504.
        """
        if revision <= self.revision:
            return
        if self.store.shared:
            await self.reach(revision)
        else:
            await self._wait_for(revision)

    async def _wait_for(self, revision: int) -> None:
        if self._closed:
            raise StoreClosed("the caches no longer follow the store")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (revision, next(self._order), waiter)
        heapq.heappush(self._waiters, waiting)
        if self.store.shared and self._nudging is None:
            self._nudging = asyncio.create_task(self._nudge(), name="cache-nudge")
        try:
            await waiter
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiting)
                heapq.heapify(self._waiters)
            raise

    async def _nudge(self) -> None:
        """While somebody waits for what is committed, make the store show how far the feed is."""
        try:
            await asyncio.sleep(NUDGE_SECONDS)
            while self._waiters:
                with contextlib.suppress(StoreFailed):
                    if await self.store.revision() > self.revision:
                        await self.store.nudge()
                await asyncio.sleep(NUDGE_SECONDS)
        except StoreClosed:
            pass
        finally:
            self._nudging = None

    async def _follow(self) -> None:
        try:
            while True:
                try:
                    async for change in self.store.watch(ROOT, self.revision, self._progressed):
                        cache = self._find(change.key)
                        if cache is not None:
                            cache.apply(change)
                        self._progressed(change.revision)
                    return
                except Compacted:
                    log.warning("The store compacted what the caches had not read; loading anew.")
                    await self._reload()
        except StoreClosed as error:
            log.error("The caches stop: %s", error)
        finally:
            self._end()

    async def _reload(self) -> None:
        """Load every cache again, however long the store takes to answer."""
        while True:
            try:
                revision = await self.store.revision()
                for cache in list(self._caches.values()):
                    if cache.loaded:
                        await cache.reload()
            except StoreFailed as error:
                log.warning("The caches cannot be loaded, to be tried again: %s", error)
                await asyncio.sleep(RELOAD_SECONDS)
            else:
                self._progressed(revision)
                return

    def _find(self, key: str) -> ResourceCache | None:
        """The cache of a key's resource: its prefix is the key less one or two segments."""
        resource, _, _ = key.rpartition("/")
        found = self._caches.get(resource)
        return found if found is not None else self._caches.get(resource.rpartition("/")[0])

    def _progressed(self, revision: int) -> None:
        """Every change up to a revision has been applied."""
        self.revision = revision
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
