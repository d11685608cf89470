"""What estimates of work know about the stored objects: read from the watch caches."""

from kybern.api.kinds import Registry
from kybern.apiserver.cache import CacheSet, ResourceCache
from kybern.apiserver.request_info import RequestInfo


class CachedResources:
    """The caches of one server, by what requests name."""

    def __init__(self, registry: Registry, caches: CacheSet) -> None:
        self._registry = registry
        self._caches = caches

    def size(self, info: RequestInfo) -> tuple[int, int]:
        """How many objects the resource has, and the bytes of all of them."""
        cache = self._cache(info)
        return (len(cache), cache.payload_bytes) if cache is not None else (0, 0)

    def watchers(self, info: RequestInfo) -> int:
        """How many watches look at every write of this object."""
        cache = self._cache(info)
        if cache is None:
            return 0
        namespace = info.namespace if cache.kind.namespaced else ""
        return cache.watches_of(cache.kind.key(namespace, info.name))

    def _cache(self, info: RequestInfo) -> ResourceCache | None:
        served = self._registry.lookup(info.group, info.version, info.resource)
        return self._caches.cache(served.kind) if served and served.kind.stored else None
