"""Local copies of API objects that stay true: list once, then follow the watch.

A component asks :class:`Informers` for one :class:`Informer` a resource and selector; all parts of
the component share it. The informer lists, watches from there, and tells its handlers of every
difference, in order. It survives disconnects, expired revisions (it lists again and reports the
differences) and server restarts, with a growing, jittered pause. Its memory is bounded by what the
server holds.

Objects are handed out without a copy and are read-only. In tests a mutation detector (the
environment variable ``KYBERN_MUTATION_DETECTOR``) compares each object with its first encoding.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable

import orjson

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import Resource
from kybern.client.client import Client, Objects
from kybern.client.transport import ApiUnreachable

logger = logging.getLogger(__name__)

MIN_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 30.0
# A watch that lasted this long was a good one: it is taken up again at once.
STEADY_SECONDS = 5.0
MIN_WATCH_SECONDS = 300

ChangeHandler = Callable[[Obj | None, Obj | None], None]
IndexFunction = Callable[[Obj], Iterable[str]]
KeepFunction = Callable[[Obj], Obj]


def object_key(obj: Obj) -> str:
    """``namespace/name``, or ``name`` of a cluster-scoped object."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else meta["name"]


class MutationDetected(AssertionError):
    """A component changed an object that it got from an informer."""


class Informer:
    """One resource (and selector), by key and by named indexes."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        keep: KeepFunction | None = None,
        watch_seconds: int = MIN_WATCH_SECONDS,
    ) -> None:
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._metadata_only = metadata_only
        self._keep = keep
        self._watch_seconds = watch_seconds
        self._objects: dict[str, Obj] = {}
        self._indexers: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, Obj]]] = {}
        self._handlers: list[ChangeHandler] = []
        self._revision = ""
        self._progress: asyncio.Future[None] | None = None
        self._synced = asyncio.Event()
        self._encodings: dict[str, bytes] | None = (
            {} if os.environ.get("KYBERN_MUTATION_DETECTOR") else None
        )

    def get(self, key: str) -> Obj | None:
        """The object under ``namespace/name`` (or ``name``)."""
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> Objects:
        """All objects, or those of one namespace, in the order they first appeared."""
        if namespace is None:
            return list(self._objects.values())
        prefix = namespace + "/"
        return [obj for key, obj in self._objects.items() if key.startswith(prefix)]

    def __len__(self) -> int:
        return len(self._objects)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep ``by_index(name, value)`` for the values that ``function`` gives an object."""
        if name in self._indexers:
            return
        self._indexers[name] = function
        self._indexes[name] = {}
        for key, obj in self._objects.items():
            self._file(name, function, key, obj)

    def by_index(self, name: str, value: str) -> Objects:
        """The objects that the index files under ``value``."""
        return list(self._indexes[name].get(value, {}).values())

    def on_change(self, handler: ChangeHandler) -> None:
        """Call ``handler(old, new)`` for every change; ``old`` is None for a new object, ``new``
        for a deleted one. A late handler is told of everything that is already known."""
        self._handlers.append(handler)
        for obj in self.list():
            self._tell(handler, None, obj)

    def synced(self) -> bool:
        """The first list is complete."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    async def reached(self, resource_version: str, patience: float = 10) -> bool:
        """Wait until a write at ``resource_version`` shows here, for ``patience`` seconds at most.

        False if it does not show by then.

        Whoever writes and then decides again from this informer awaits this in between, so that
        it never acts twice on the same stale picture (resourceVersions are ordered: KEP-5504).
        """
        deadline = asyncio.get_running_loop().time() + patience
        while int(self._revision or 0) < int(resource_version or 0):
            if self._progress is None:
                self._progress = asyncio.get_running_loop().create_future()
            left = deadline - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait({self._progress}, timeout=max(left, 0))
            if not done:
                return False
        return True

    def _advance(self, revision: str) -> None:
        self._revision = revision
        if self._progress is not None:
            self._progress.set_result(None)
            self._progress = None

    async def run(self) -> None:
        """Follow the server until cancelled."""
        pause = MIN_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
            except StatusError as error:
                if error.code == 410 or error.reason in ("Expired", "Gone"):
                    self._revision = ""
                    continue
                logger.warning("watching %s: %s", self.resource.qualified, error)
            except (ApiUnreachable, ConnectionError, TimeoutError) as error:
                logger.info("watching %s: %s", self.resource.qualified, error)
            except orjson.JSONDecodeError as error:
                logger.warning("watching %s: broken event: %s", self.resource.qualified, error)
                self._revision = ""
            if loop.time() - started > STEADY_SECONDS:
                pause = MIN_PAUSE_SECONDS
                continue
            await asyncio.sleep(pause * (1 + self._client.clock.random.random()))
            pause = min(pause * 2, MAX_PAUSE_SECONDS)

    async def _list(self) -> None:
        items, revision = await self._client.list_all(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            metadata_only=self._metadata_only,
            keep=self._keep,
        )
        listed = {object_key(obj): obj for obj in items}
        for key in [key for key in self._objects if key not in listed]:
            self._apply(key, None)
        for key, obj in listed.items():
            known = self._objects.get(key)
            if known is None or _version(known) != _version(obj):
                self._apply(key, obj)
        self._advance(revision)
        self._synced.set()

    async def _watch(self) -> None:
        spread = self._client.clock.random.randrange(self._watch_seconds)
        events = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self._revision,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            metadata_only=self._metadata_only,
            timeout_seconds=self._watch_seconds + spread,
        )
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            async for event in events:
                obj = event["object"]
                if event["type"] != "BOOKMARK":
                    obj = obj if self._keep is None else self._keep(obj)
                    key = object_key(obj)
                    self._apply(key, None if event["type"] == "DELETED" else obj, obj)
                self._advance(_version(obj))

    def _apply(self, key: str, obj: Obj | None, last_state: Obj | None = None) -> None:
        """Store, index and report one change; a deletion reports the last state, if it came."""
        old = self._objects.pop(key, None) if obj is None else self._objects.get(key)
        if obj is None and old is None:
            return
        self._detect_mutation(key, obj)
        for name, function in self._indexers.items():
            if old is not None:
                self._unfile(name, function, key, old)
            if obj is not None:
                self._file(name, function, key, obj)
        if obj is not None:
            self._objects[key] = obj
        reported = last_state if obj is None and last_state is not None else old
        for handler in self._handlers:
            self._tell(handler, reported, obj)

    def _tell(self, handler: ChangeHandler, old: Obj | None, new: Obj | None) -> None:
        try:
            handler(old, new)
        except MutationDetected:
            raise
        except Exception:
            logger.exception("handler of %s failed", self.resource.qualified)

    def _file(self, name: str, function: IndexFunction, key: str, obj: Obj) -> None:
        for value in function(obj):
            self._indexes[name].setdefault(value, {})[key] = obj

    def _unfile(self, name: str, function: IndexFunction, key: str, obj: Obj) -> None:
        for value in function(obj):
            filed = self._indexes[name].get(value)
            if filed is not None:
                filed.pop(key, None)
                if not filed:
                    del self._indexes[name][value]

    def _detect_mutation(self, key: str, new: Obj | None) -> None:
        if self._encodings is None:
            return
        held, encoding = self._objects.get(key), self._encodings.get(key)
        if held is not None and encoding is not None and orjson.dumps(held) != encoding:
            raise MutationDetected(f"{self.resource.qualified} {key} was changed in the informer")
        if new is None:
            self._encodings.pop(key, None)
        else:
            self._encodings[key] = orjson.dumps(new)

    def verify_unchanged(self) -> None:
        """Raise MutationDetected if any held object differs from what the server sent."""
        for key in self._encodings or {}:
            self._detect_mutation(key, self._objects[key])


def _version(obj: Obj) -> str:
    return obj["metadata"].get("resourceVersion", "")


_Selection = tuple[Resource, str | None, str, str, bool, KeepFunction | None]


class Informers:
    """The informers of one component: one a resource and selector, started together."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[_Selection, Informer] = {}
        self._tasks: dict[Informer, asyncio.Task[None]] = {}

    def informer(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        keep: KeepFunction | None = None,
    ) -> Informer:
        """The shared informer; call :meth:`start` afterwards.

        ``metadata_only`` asks the server for PartialObjectMetadata and keeps little memory;
        ``keep`` makes of each object what is kept of it, its name and version at least.
        """
        key = (resource, namespace, label_selector, field_selector, metadata_only, keep)
        if key not in self._informers:
            self._informers[key] = Informer(self._client, *key)
        return self._informers[key]

    async def forget(self, informer: Informer) -> None:
        """Stop an informer whose resource is no longer served."""
        self._informers = {k: one for k, one in self._informers.items() if one is not informer}
        task = self._tasks.pop(informer, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def start(self) -> None:
        """Start those that do not run yet and wait until all are synced."""
        for informer in self._informers.values():
            if informer not in self._tasks:
                name = f"informer {informer.resource.qualified}"
                self._tasks[informer] = asyncio.create_task(informer.run(), name=name)
        for informer, task in list(self._tasks.items()):
            synced = asyncio.ensure_future(informer.wait_synced())
            try:
                await asyncio.wait({synced, task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                synced.cancel()
            if task.done() and not informer.synced():
                task.result()

    async def stop(self) -> None:
        """Cancel all tasks; raises what a mutation detector found."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        for informer in self._informers.values():
            informer.verify_unchanged()
