"""Small changes that the server itself makes to a stored object: bind, evict, count down."""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.api.kinds import Kind
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Services
from kybern.apiserver.replacement import TRIES, owned, unchanged
from kybern.store.interface import RevisionMismatch


class Vanished(Exception):
    """The object is not there (any more)."""


class Contended(Exception):
    """Others keep changing the object; nothing was written."""


async def adjust(
    services: Services,
    kind: Kind,
    key: str,
    change: Callable[[Obj], None],
    *,
    dry_run: bool = False,
) -> CachedObject:
    """Change an object in place, again and again until nobody else interferes.

    ``change`` gets an object of its own in the storage version and may raise. Returns what is
    stored now; on a dry run, what was there before. Raises Vanished and Contended.
    """
    cache = services.caches.cache(kind)
    schema = services.storage_schema(kind)
    for _ in range(TRIES):
        cached = cache.get(key)
        if cached is None:
            raise Vanished(key)
        obj = owned(cached)
        change(obj)
        obj = schema.normalise(obj)
        if dry_run or unchanged(obj, cached.obj):
            return cached
        try:
            return await cache.update(key, obj, cached.mod_revision)
        except RevisionMismatch:
            continue
    raise Contended(key)
