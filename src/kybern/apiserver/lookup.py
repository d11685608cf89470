"""How admission, authorization and allocation read the cluster: by resource, from the caches.

They see a narrow :class:`Lookup`, so that a table test hands them a dict of objects. Every answer
is what this process knows now; its own committed writes are in it. Objects are read-only.
"""

from collections.abc import Callable
from typing import Protocol

from kybern.api.errors import Obj
from kybern.api.kinds import Kind, Registry
from kybern.api.resources import Resource
from kybern.apiserver.cache import CachedObject, CacheSet
from kybern.apiserver.cache.events import Selection

Change = Callable[[Obj | None, Obj | None], None]


class Lookup(Protocol):
    """Cached objects by resource."""

    def get(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """One object, or None."""
        ...

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        """All objects, or those of a namespace, in the order of their keys."""
        ...

    def on_change(self, resource: Resource, callback: Change) -> None:
        """Call back with (old, new) after every change; old is None for a new object, new for a
        deleted one. Objects that exist already are reported at once."""
        ...


class CacheLookup:
    """A lookup in the watch caches, which must have been started."""

    def __init__(self, caches: CacheSet, registry: Registry) -> None:
        self._caches = caches
        self._registry = registry
        self._kinds: dict[Resource, Kind | None] = {}

    def get(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        kind = self._kind(resource)
        if kind is None:
            return None
        cached = self._caches.cache(kind).get(kind.key(namespace, name))
        return cached.obj if cached is not None else None

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        kind = self._kind(resource)
        if kind is None:
            return []
        prefix = kind.resource_prefix + (f"/{namespace}/" if namespace else "/")
        found = self._caches.cache(kind).current(Selection(prefix, None, None), "")
        return [cached.obj for cached in found]

    def on_change(self, resource: Resource, callback: Change) -> None:
        kind = self._kind(resource)
        if kind is None:
            return

        def changed(old: CachedObject | None, new: CachedObject | None) -> None:
            callback(old.obj if old else None, new.obj if new else None)

        self._caches.cache(kind).on_change(changed)

    def _kind(self, resource: Resource) -> Kind | None:
        """The kind of a resource; None where this server does not serve it."""
        if resource not in self._kinds:
            served = self._registry.lookup(resource.group, resource.version, resource.plural)
            self._kinds[resource] = served.kind if served is not None else None
        return self._kinds[resource]
