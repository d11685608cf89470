"""The pods' cache over a memory store, with short forms of its calls."""

from dataclasses import dataclass
from typing import Any

from kybern.apiserver.cache import CachedObject, CacheSet, ResourceCache, Watch, WatchEvent
from kybern.store.memory import MemoryStore

PODS = "/registry/pods/"


@dataclass
class Pods:
    """The pods' cache with short forms of its calls."""

    store: MemoryStore
    caches: CacheSet
    cache: ResourceCache

    async def create(
        self, name: str, namespace: str = "default", node: str = "", **labels: str
    ) -> CachedObject:
        obj: dict[str, Any] = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"nodeName": node} if node else {},
        }
        return await self.cache.create(f"{PODS}{namespace}/{name}", obj)

    async def relabel(self, pod: CachedObject, **labels: str) -> CachedObject:
        metadata = {**pod.obj["metadata"], "labels": labels}
        return await self.cache.update(pod.key, {**pod.obj, "metadata": metadata}, pod.mod_revision)

    async def delete(self, pod: CachedObject) -> CachedObject:
        return await self.cache.delete(pod.key, pod.mod_revision)


def shown(events: list[WatchEvent]) -> list[tuple[str, str, int]]:
    """Type, name and revision of each event."""
    return [
        (e.type, e.object.obj["metadata"]["name"] if e.object else "", e.revision) for e in events
    ]


async def ready(watch: Watch) -> list[tuple[str, str, int]]:
    """What a watch has ready now."""
    return shown(await watch.batch())
