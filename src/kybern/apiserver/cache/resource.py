"""The cache of one resource: live objects, the window of their changes, its watches and writes.

The feed calls ``apply`` for every change of the store under this resource's prefix; the verbs call
the rest. A write goes to the store and returns when the feed has applied it, so what a process has
written it reads. The window is bounded in changes and in bytes; older revisions are read from the
store.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from kybern.api.errors import Obj, StatusError
from kybern.api.kinds import Kind
from kybern.api.selectors import FieldSelector, LabelSelector
from kybern.apiserver.cache.events import CacheChange, Selection
from kybern.apiserver.cache.listing import Listing, ListOptions, list_objects
from kybern.apiserver.cache.objects import CachedObject, DerivedBudget, encode_payload, selectable
from kybern.apiserver.cache.options import (
    storage_error,
    too_old_resource_version,
    validate_watch,
    watch_revision,
)
from kybern.apiserver.cache.stored_form import read_stored
from kybern.apiserver.cache.terms import TermIndex
from kybern.apiserver.cache.watch import Watch
from kybern.apiserver.cache.watchers import Watchers
from kybern.store.interface import (
    Change,
    Compacted,
    Entry,
    Page,
    RevisionMismatch,
    Store,
    StoreError,
    StoreFailed,
)
from kybern.store.timeline import Timeline

log = logging.getLogger(__name__)

MAX_WINDOW_CHANGES = 20_000
MAX_WINDOW_BYTES = 64 * 1024 * 1024

# Fields that many clients select by, one value each: every kubelet watches its node's pods.
INDEXED_FIELDS = ("spec.nodeName",)


Listener = Callable[[CachedObject | None, CachedObject | None], None]


class Progress(Protocol):
    """How far the feed has read the store."""

    @property
    def revision(self) -> int: ...

    @property
    def compacted(self) -> int:
        """Clients are to see nothing that is older."""
        ...

    async def fresh_revision(self) -> int: ...

    async def reach(self, revision: int) -> int: ...

    async def seen(self, revision: int) -> None:
        """Wait until a revision that is committed has been applied; raises 504."""
        ...


class ResourceCache:
    """One kind's objects. ``start`` loads them; the synchronous methods are for afterwards."""

    def __init__(
        self, kind: Kind, store: Store, feed: Progress, budget: DerivedBudget, ttl: int = 0
    ) -> None:
        self.kind = kind
        self.prefix = kind.resource_prefix + "/"
        self._store = store
        self._feed = feed
        self._budget = budget
        self._ttl = ttl
        self._indexed = [name for name in INDEXED_FIELDS if name in kind.selectable_fields]
        self._written: dict[int, tuple[bytes, Obj]] = {}
        self._early: list[Change] | None = None
        self._loading = asyncio.Lock()
        self._loaded = False
        self._loaded_at = 0
        self._closed = False
        self._listeners: list[Listener] = []
        self._reset()

    def _reset(self) -> None:
        self._state: Timeline[CachedObject, CacheChange] = Timeline(
            0,
            lambda cached: len(cached.payload),
            max_steps=MAX_WINDOW_CHANGES,
            max_bytes=MAX_WINDOW_BYTES,
        )
        self._terms = TermIndex(self._indexed)
        self._watchers = Watchers(self._indexed)
        self.payload_bytes = 0
        # How many events all watches together were sent.
        self.events_sent = 0

    @property
    def loaded(self) -> bool:
        return self._loaded

    @property
    def revision(self) -> int:
        """The revision up to which every change has been applied."""
        return max(self._feed.revision, self._state.revision)

    def __len__(self) -> int:
        return len(self._state)

    # Reading

    def get(self, key: str) -> CachedObject | None:
        """The object at a full store key, as fresh as this process knows it."""
        assert self._loaded, "start the cache before reading it"
        return self._state.get(key)

    async def list(
        self,
        prefix: str,
        *,
        selector: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        resource_version: str = "",
        match: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Listing:
        """One page of the objects under ``prefix``; raises StatusError as upstream's LIST does."""
        selection = Selection(_closed_prefix(prefix), selector, fields)
        options = ListOptions(resource_version, match, limit, continue_token)
        return await list_objects(self, selection, options)

    def watch(
        self,
        prefix: str,
        *,
        selector: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        resource_version: str = "",
        allow_bookmarks: bool = False,
        send_initial_events: bool | None = None,
        match: str = "",
        continue_token: str = "",
    ) -> Watch:
        """Follow the objects under ``prefix``.

        Raises StatusError 422 at once for options that make no sense; iterating raises what
        upstream sends as an ERROR event: 410 for a version older than the window, 504 for the
        initial events of a version that is not reached.
        """
        validate_watch(match, send_initial_events, continue_token)
        after = watch_revision(resource_version)

        async def begin(watch: Watch) -> None:
            await self._begin(watch, resource_version, after, send_initial_events)

        return Watch(
            self,
            Selection(_closed_prefix(prefix), selector, fields),
            open_=begin,
            on_close=lambda watch: self._watchers.remove(watch, self._only_key(watch.selection)),
            allow_bookmarks=allow_bookmarks,
        )

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watchers)

    def watches_of(self, key: str) -> int:
        """How many watches every change of a key is shown to, whatever it changes."""
        return self._watchers.count(key)

    # Writing

    async def create(self, key: str, obj: Obj) -> CachedObject:
        """Store a new object, which the cache takes over; raises the store's RevisionMismatch."""
        payload = encode_payload(obj)
        with self._writing(payload, obj):
            return await self._applied(self._store.create(key, payload, ttl=self._ttl))

    async def update(self, key: str, obj: Obj, mod_revision: int) -> CachedObject:
        """Replace the object that was read at ``mod_revision``; raises RevisionMismatch."""
        payload = encode_payload(obj)
        with self._writing(payload, obj):
            write = self._store.update(key, payload, mod_revision, ttl=self._ttl)
            return await self._applied(write)

    async def delete(self, key: str, mod_revision: int) -> CachedObject:
        """Remove the object; its last state under the deletion's revision. RevisionMismatch."""
        return await self._applied(self._store.delete(key, mod_revision))

    @contextmanager
    def _writing(self, payload: bytes, obj: Obj) -> Iterator[None]:
        """While its write is under way, know a payload's object, so that it is not parsed again."""
        self._written[id(payload)] = (payload, obj)
        try:
            yield
        finally:
            del self._written[id(payload)]

    async def _applied(self, write: Awaitable[Entry]) -> CachedObject:
        """The result of a write, once the cache shows it; raises 503 and 500 if it is refused."""
        try:
            entry = await write
        except RevisionMismatch as mismatch:
            # The caller will look at the cache again, and must find what it collided with there.
            current = mismatch.current
            await self._feed.seen(current.mod_revision if current else await self._store.revision())
            raise
        except StoreError as error:
            raise storage_error(error) from error
        try:
            await self._feed.seen(entry.mod_revision)
        except StatusError:
            log.warning("%s is stored, but this server's caches lag behind.", entry.key)
        shown = self._state.get(entry.key)
        if shown is not None and shown.mod_revision == entry.mod_revision:
            return shown
        return self._cached(entry)

    # What the feed calls

    async def start(self) -> None:
        """Load what is stored, once; changes that arrive meanwhile are applied afterwards."""
        if self._loaded:
            return
        async with self._loading:
            if not self._loaded:
                await self._load()

    async def _load(self) -> None:
        self._early = []
        try:
            self._fill(await self._store.list(self.prefix))
        finally:
            early, self._early = self._early, None
        for change in early:
            self.apply(change)

    def _fill(self, page: Page) -> None:
        """Show a whole state."""
        for entry in page.entries:
            cached = self._cached(entry)
            self._state.restore(entry.key, cached)
            self.payload_bytes += len(cached.payload)
            self._terms.replace(entry.key, None, cached)
        self._state.start_at(page.revision)
        self._loaded_at = page.revision
        self._loaded = True

    def apply(self, change: Change) -> None:
        """Make one change visible to readers and watchers; called in revision order."""
        if self._early is not None:
            self._early.append(change)
            return
        if not self._loaded or change.revision <= self._loaded_at:
            return
        previous = self._state.get(change.key)
        current = self._readable(change.entry) if change.entry is not None else None
        self.payload_bytes += len(current.payload) if current is not None else 0
        self.payload_bytes -= len(previous.payload) if previous is not None else 0
        step = CacheChange(change.key, change.revision, current, previous)
        self._state.apply(step)
        self._terms.replace(change.key, previous, current)
        self._watchers.publish(step)
        self._report(previous, current)

    def on_change(self, listener: Listener) -> None:
        """Call back with the object before and after each change, in revision order, before the
        write that made it returns. What is cached already is reported at once."""
        assert self._loaded, "start the cache before listening to it"
        for cached in self._state.range(self.prefix, ""):
            listener(None, cached)
        self._listeners.append(listener)

    def close(self) -> None:
        """End every watch, now and later."""
        self._closed = True
        self._watchers.close()

    async def reload(self) -> None:
        """Start over from the store, after the feed has lost its place; ends every watch."""
        page = await self._store.list(self.prefix)
        self._watchers.close()
        before = {cached.key: cached for cached in self._state.range(self.prefix, "")}
        self._reset()
        self._fill(page)
        for current in self._state.range(self.prefix, ""):
            previous = before.pop(current.key, None)
            if previous is None or previous.mod_revision != current.mod_revision:
                self._report(previous, current)
        for gone in before.values():
            self._report(gone, None)

    def _report(self, previous: CachedObject | None, current: CachedObject | None) -> None:
        for listener in self._listeners:
            try:
                listener(previous, current)
            except Exception:
                # The feed serves everybody, so one listener's mistake must not end it.
                log.exception("A listener on %s failed.", self.prefix)

    # What lists and watches need (Snapshots and WatchSource)

    async def fresh_revision(self) -> int:
        await self.start()
        return await self._feed.fresh_revision()

    async def reach(self, revision: int) -> int:
        await self.start()
        return await self._feed.reach(revision)

    def current(self, selection: Selection, start: str) -> Sequence[CachedObject]:
        key = self._only_key(selection)
        if key is not None:
            cached = self._state.get(key) if key >= start else None
            return [cached] if cached is not None else []
        keys = self._terms.candidates(selection)
        if keys is None:
            return self._state.range(selection.prefix, start)
        found = (self._state.get(key) for key in keys if key >= start)
        return [cached for cached in found if cached is not None]

    async def past(self, prefix: str, start: str, revision: int) -> Sequence[CachedObject]:
        if revision < self._feed.compacted:
            raise Compacted(self._feed.compacted)
        if revision >= self._state.floor:
            return self._state.range(prefix, start, revision)
        page = await self._store.list(prefix, start=start, revision=revision)
        return [self._cached(entry) for entry in page.entries]

    def changes_after(self, revision: int, prefix: str) -> Sequence[CacheChange] | None:
        if revision < self._state.floor:
            return None
        return self._state.steps_after(revision, prefix)

    async def _begin(
        self, watch: Watch, resource_version: str, after: int, send_initial_events: bool | None
    ) -> None:
        """Place a watch: which initial objects it gets, and from which revision it goes on."""
        await self.start()
        if send_initial_events and resource_version not in ("", "0"):
            await self._feed.reach(after)
        elif send_initial_events is not None and not resource_version:
            await self._feed.fresh_revision()
        initial: Sequence[CachedObject] | None = None
        if send_initial_events or (send_initial_events is None and after == 0):
            found = self.current(watch.selection, "")
            initial = [cached for cached in found if watch.selection.matches(cached)]
            after = self.revision
        elif after == 0:
            after = self.revision
        elif after < self._state.floor:
            watch.close()
            raise too_old_resource_version(after, self._state.floor)
        watch.begin(after, initial, bool(send_initial_events))
        self._watchers.add(watch, self._only_key(watch.selection))
        if self._closed:
            watch.close()

    def _cached(self, entry: Entry) -> CachedObject:
        """The object of a stored entry; parsed once, or not at all if it was written here."""
        written = self._written.get(id(entry.value))
        if written is not None:
            payload, obj = written
        else:
            payload, obj = read_stored(self.kind, entry)
        labels, fields = selectable(obj, self.kind.selectable_fields)
        cached = CachedObject(entry.key, payload, entry.mod_revision, labels, fields, self._budget)
        if written is not None:
            cached.keep_parsed(obj)
        return cached

    def _readable(self, entry: Entry) -> CachedObject | None:
        """An object that somebody stored; None, as if there were none, if it makes no sense.

        The feed serves everybody, so one bad value must not end it.
        """
        try:
            return self._cached(entry)
        except StoreFailed as error:
            log.error("%s", error)
            return None

    def _only_key(self, selection: Selection) -> str | None:
        """The single key that a selection by name can match, if its prefix is deep enough."""
        name = selection.fields.exact("metadata.name") if selection.fields is not None else None
        if not name or (self.kind.namespaced and selection.prefix == self.prefix):
            return None
        return selection.prefix + name


def _closed_prefix(prefix: str) -> str:
    """A prefix that ends at a path segment: the namespace ``a`` must not find ``ab``."""
    return prefix if prefix.endswith("/") else prefix + "/"
