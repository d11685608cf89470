"""The store of several API servers: etcd, reached over gRPC.

Every write is one transaction guarded by the key's modification revision, every read goes to a
quorum, and nothing is kept here: what a server knows of etcd is in its watch cache. Keys under
``root`` are kept under ``prefix``, as a kube-apiserver with that prefix keeps them. Who calls is
told etcd's refusals in etcd's own words (:class:`~kybern.store.interface.StoreFailed`).

A quorum's revision also counts changes outside the prefix, which no watch of it shows.
:meth:`EtcdStore.nudge` makes watches catch up with such a revision: by asking for progress where
the member's version tells the truth about it, else by a write of one key under the prefix, whose
event comes after all others.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from kybern.rpc.etcd import EtcdClient, EtcdError, proto
from kybern.store.etcd_compaction import compact, compact_together
from kybern.store.etcd_leases import Leases
from kybern.store.etcd_watch import EtcdWatch
from kybern.store.interface import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    Page,
    Progressed,
    RevisionMismatch,
    StoreClosed,
    StoreFailed,
)

# How many keys one answer of etcd brings, and how long it may take over them.
RANGE_PAGE = 1_000
RANGE_SECONDS = 30.0

# What nudge writes where progress cannot be asked for; nobody reads it.
PROGRESS_KEY = "/kybern.io/progress"


class EtcdStore:
    """A :class:`~kybern.store.interface.Store` in an etcd cluster; takes over the client."""

    shared = True

    def __init__(self, client: EtcdClient, *, root: str = "", prefix: str = "") -> None:
        self._call_problem = ""
        self._watch_problem = ""
        self._client = client
        self._root = root
        self._prefix = prefix
        self._leases = Leases(client)
        self._watches: dict[EtcdWatch, None] = {}
        self._closed = False
        self._asking: asyncio.Task[int] | None = None
        self._asking_next: asyncio.Task[int] | None = None

    # Writing

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> Entry:
        return await self._put(key, value, 0, ttl)

    async def update(self, key: str, value: bytes, mod_revision: int, *, ttl: int = 0) -> Entry:
        await self._refuse_no_guard(key, mod_revision)
        return await self._put(key, value, mod_revision, ttl)

    async def delete(self, key: str, mod_revision: int) -> Entry:
        await self._refuse_no_guard(key, mod_revision)
        name = self._outer(key)
        gone = proto.DeleteRangeRequest(key=name, prev_kv=True)
        response = await self._guarded(
            key, mod_revision, [proto.RequestOp(request_delete_range=gone)]
        )
        (last,) = response.responses[0].response_delete_range.prev_kvs
        return Entry(key, last.value, last.create_revision, response.header.revision)

    async def _put(self, key: str, value: bytes, guard: int, ttl: int) -> Entry:
        name = self._outer(key)
        lease = await self._call(self._leases.lease(ttl))
        put = proto.PutRequest(key=name, value=value, lease=lease)
        shown = proto.RangeRequest(key=name, keys_only=True)
        response = await self._guarded(
            key, guard, [proto.RequestOp(request_put=put), proto.RequestOp(request_range=shown)]
        )
        (stored,) = response.responses[1].response_range.kvs
        return Entry(key, value, stored.create_revision, stored.mod_revision)

    async def _guarded(self, key: str, guard: int, operations: list[Any]) -> Any:
        """Carry out operations if the key is at ``guard`` (0: absent); raises RevisionMismatch."""
        name = self._outer(key)
        unchanged = proto.Compare(key=name, target=proto.Compare.MOD, mod_revision=guard)
        current = proto.RequestOp(request_range=proto.RangeRequest(key=name))
        transaction = proto.TxnRequest(compare=[unchanged], success=operations, failure=[current])
        response = await self._kv("Txn", transaction, repeatable=False)
        if not response.succeeded:
            found = response.responses[0].response_range.kvs
            raise RevisionMismatch(self._entry(found[0]) if found else None)
        return response

    async def _refuse_no_guard(self, key: str, mod_revision: int) -> None:
        """etcd takes 0 for "absent", which nothing that is replaced or deleted can be."""
        if mod_revision <= 0:
            raise RevisionMismatch(await self.get(key))

    # Reading

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        request = proto.RangeRequest(key=self._outer(key), revision=revision)
        found = (await self._range(request)).kvs
        return self._entry(found[0]) if found else None

    async def list(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        entries: list[Entry] = []
        asked = revision
        first, end = self._outer(max(prefix, start)), _range_end(self._outer(prefix))
        while True:
            page = min(limit - len(entries) if limit else RANGE_PAGE, RANGE_PAGE)
            request = proto.RangeRequest(key=first, range_end=end, limit=page, revision=asked)
            try:
                response = await self._range(request)
            except Compacted:
                if revision or not asked:
                    raise
                # So slow a reader that its own first page is compacted away starts again.
                entries, asked, first = [], 0, self._outer(max(prefix, start))
                continue
            asked = asked or response.header.revision
            entries += map(self._entry, response.kvs)
            if not response.more or len(entries) == limit:
                return Page(entries, asked, response.count - len(response.kvs))
            first = response.kvs[-1].key + b"\0"

    async def revision(self) -> int:
        """Everybody who asks while a question is under way shares the next one."""
        self._check_open()
        if self._asking_next is None:
            self._asking_next = asyncio.create_task(self._ask_revision(self._asking))
        return await asyncio.shield(self._asking_next)

    async def _ask_revision(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait([before])
        self._asking, self._asking_next = self._asking_next, None
        request = proto.RangeRequest(key=self._outer(self._root) or b"\0", count_only=True)
        response = await self._range(request)
        revision: int = response.header.revision
        return revision

    async def _range(self, request: Any) -> Any:
        try:
            return await self._kv("Range", request, repeatable=True, timeout=RANGE_SECONDS)
        except Compacted:
            raise Compacted(await self._compacted(request.revision)) from None

    # Watching

    def watch(
        self, prefix: str, after_revision: int, progressed: Progressed | None = None
    ) -> AsyncIterator[Change]:
        name = self._outer(prefix)
        watch = EtcdWatch(
            self._client,
            (name or b"\0", _range_end(name)),
            after_revision,
            change=self._change,
            progressed=progressed,
            health=self,
            on_end=lambda ended: self._watches.pop(ended, None),
        )
        self._watches[watch] = None
        if self._closed:
            watch.end()
        return watch

    async def nudge(self) -> None:
        for watch in list(self._watches):
            if watch.trusted:
                await watch.ask_for_progress()
        if not all(watch.trusted for watch in self._watches):
            put = proto.PutRequest(key=self._outer(self._root + PROGRESS_KEY))
            operation = proto.RequestOp(request_put=put)
            await self._kv("Txn", proto.TxnRequest(success=[operation]), repeatable=True)

    async def _compacted(self, revision: int) -> int:
        """What etcd is compacted to, which only a watch from a compacted revision is told."""
        watch = self.watch(self._root, revision)
        try:
            async with asyncio.timeout(RANGE_SECONDS):
                await anext(watch)
        except Compacted as compacted:
            return compacted.compacted_revision
        except (TimeoutError, StopAsyncIteration):
            pass
        finally:
            assert isinstance(watch, EtcdWatch)
            watch.end()
        return revision + 1

    @property
    def problem(self) -> str:
        return self._call_problem or self._watch_problem

    def lost(self, why: str) -> None:
        """A watch has lost its connection."""
        self._watch_problem = why

    def found(self) -> None:
        """A watch has a connection."""
        self._watch_problem = ""

    # Upkeep

    async def compact(self, revision: int) -> None:
        self._check_open()
        await self._call(compact(self._client, revision))

    def compactions(self, interval: float) -> AsyncIterator[int]:
        return compact_together(self._client, interval)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for watch in list(self._watches):
            watch.end()
        await self._client.close()

    async def _kv(self, method: str, request: Any, *, repeatable: bool, **options: float) -> Any:
        self._check_open()
        call = self._client.call("KV", method, request, repeatable=repeatable, **options)
        return await self._call(call)

    async def _call(self, call: Awaitable[Any]) -> Any:
        """The outcome of a call in the store's terms; to what etcd is compacted is not said."""
        try:
            outcome = await call
        except EtcdError as error:
            if error.lease_gone:
                self._leases.forget()
            if error.compacted:
                raise Compacted(0) from None
            if error.future:
                raise FutureRevision(str(error)) from None
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                self._call_problem = str(error)
            raise StoreFailed(str(error), error.timed_out) from error
        self._call_problem = ""
        return outcome

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    # Names

    def _outer(self, key: str) -> bytes:
        """etcd's name of a key; other clients' names may be no text, and survive all the same."""
        assert key.startswith(self._root), f"{key} is outside of {self._root}"
        return (self._prefix + key[len(self._root) :]).encode(errors="surrogateescape")

    def _inner(self, name: bytes) -> str:
        return self._root + name.decode(errors="surrogateescape")[len(self._prefix) :]

    def _entry(self, kv: Any) -> Entry:
        return Entry(self._inner(kv.key), kv.value, kv.create_revision, kv.mod_revision)

    def _change(self, event: Any) -> Change:
        deleted = event.type == proto.Event.DELETE
        previous = self._entry(event.prev_kv) if event.HasField("prev_kv") else None
        key = self._inner(event.kv.key)
        return Change(
            event.kv.mod_revision, key, None if deleted else self._entry(event.kv), previous
        )


def _range_end(prefix: bytes) -> bytes:
    """The first key after all that start with ``prefix``; for an empty one, etcd's word for all."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
