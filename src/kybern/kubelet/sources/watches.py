"""Watches the ConfigMaps and Secrets that this node's pods use, one by one.

``references.py`` begins a watch after it has read an object for a pod, and from then on reads what
the watch shows. A change wakes the pods that refer to the object, so that their volumes follow at
once. A node may see single objects only, so each watch asks for one name. It ends with the last pod
that refers to the object, when nobody has read it for a while (variables are read once), and when
the object is immutable: that one is kept as it is. A watch holds a connection, so their number is
bounded; what is not watched is read again at each sync.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.api.pod_references import pod_config_maps, pod_secrets
from kybern.api.resources import CONFIG_MAPS, SECRETS, Resource
from kybern.client.client import Client
from kybern.client.informer import Informer
from kybern.component.clock import Clock
from kybern.kubelet.pods import spec

# Half of the connections that a client has to its server: the rest are for requests.
MAX_WATCHES = 128
IDLE_SECONDS = 300.0
LOOK_SECONDS = 60.0
# One object changes seldom: its watch is not taken up again as often as others.
WATCH_SECONDS = 1800

Key = tuple[Resource, str, str]


@dataclass(slots=True)
class _Watch:
    """One object's watch; ``version`` is the one that its readers have seen."""

    informer: Informer
    task: asyncio.Task[None]
    version: str
    read: float


class Watches:
    """The watches of one node; ``on_change`` is told the UID of each pod that is concerned."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.on_change: Callable[[str], None] = lambda uid: None
        self._client = client
        self._clock = clock
        self._pods: dict[str, frozenset[Key]] = {}
        self._users: dict[Key, dict[str, None]] = {}
        self._watches: dict[Key, _Watch] = {}
        self._immutable: dict[Key, Obj] = {}

    def follow(self, pod: Obj) -> None:
        """A pod of this node, new or changed."""
        uid, now = spec.uid(pod), references(pod)
        before = self._pods.get(uid, frozenset())
        self._pods[uid] = now
        for key in now - before:
            self._users.setdefault(key, {})[uid] = None
        self._leave(uid, before - now)

    def forget(self, uid: str) -> None:
        """The pod is gone from this node."""
        self._leave(uid, self._pods.pop(uid, frozenset()))

    def shows(self, key: Key) -> bool:
        """Whether :meth:`get` knows how the object is now."""
        if key in self._immutable:
            return True
        watch = self._watches.get(key)
        if watch is not None and watch.task.done():
            # What ended by itself tells of no changes any more; the next read begins anew.
            self._end(key)
            return False
        return watch is not None and watch.informer.synced()

    def get(self, key: Key) -> Obj | None:
        """The object as it is, or None if there is none."""
        if kept := self._immutable.get(key):
            return kept
        watch = self._watches[key]
        watch.read = self._clock.monotonic()
        _, namespace, name = key
        return watch.informer.get(f"{namespace}/{name}")

    def begin(self, key: Key, found: Obj | None) -> None:
        """Watch an object that a pod has just read; harmless if that is done already."""
        if key not in self._users or key in self._watches:
            return
        if found is not None and found.get("immutable"):
            self._immutable[key] = found
            return
        if len(self._watches) >= MAX_WATCHES:
            return
        resource, namespace, name = key
        informer = Informer(
            self._client,
            resource,
            namespace,
            field_selector=f"metadata.name={name}",
            watch_seconds=WATCH_SECONDS,
        )
        task = asyncio.create_task(informer.run(), name=f"watch {resource.plural} {name}")
        version = "" if found is None else found["metadata"]["resourceVersion"]
        self._watches[key] = _Watch(informer, task, version, self._clock.monotonic())
        informer.on_change(lambda old, new: self._changed(key, new))

    async def run(self) -> None:
        """End the watches that nobody needs, until cancelled; then all of them."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                earliest = self._clock.monotonic() - IDLE_SECONDS
                for key in [k for k, watch in self._watches.items() if watch.read < earliest]:
                    self._end(key)
        finally:
            tasks = [watch.task for watch in self._watches.values()]
            for key in list(self._watches):
                self._end(key)
            await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, key: Key, new: Obj | None) -> None:
        watch = self._watches.get(key)
        version = "" if new is None else new["metadata"]["resourceVersion"]
        if watch is None or watch.version == version:
            return
        watch.version = version
        if new is not None and new.get("immutable"):
            self._immutable[key] = new
            self._end(key)
        for uid in self._users.get(key, ()):
            self.on_change(uid)

    def _leave(self, uid: str, keys: frozenset[Key]) -> None:
        for key in keys:
            users = self._users[key]
            del users[uid]
            if not users:
                del self._users[key]
                self._immutable.pop(key, None)
                self._end(key)

    def _end(self, key: Key) -> None:
        if watch := self._watches.pop(key, None):
            watch.task.cancel()


def references(pod: Obj) -> frozenset[Key]:
    """What of it a pod refers to by name."""
    namespace = pod["metadata"]["namespace"]
    return frozenset(
        [(CONFIG_MAPS, namespace, name) for name in pod_config_maps(pod)]
        + [(SECRETS, namespace, name) for name in pod_secrets(pod)]
    )
