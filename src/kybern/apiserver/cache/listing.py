"""LIST: which revision it shows, and its pages.

resourceVersion and resourceVersionMatch say how fresh the answer must be; a limit makes pages that
all show the revision of the first. What the cache's window no longer covers is read from the store,
and what the store has compacted is Expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kybern.api.errors import bad_request, expired
from kybern.apiserver.cache.events import Selection
from kybern.apiserver.cache.objects import CachedObject
from kybern.apiserver.cache.options import (
    EXACT,
    LIST_EXPIRED,
    NOT_OLDER_THAN,
    ContinueExpired,
    ContinueToken,
    list_revision,
    validate_list,
)
from kybern.store.interface import Compacted


@dataclass(frozen=True, slots=True)
class Listing:
    """One page, in key order. ``remaining`` is None where upstream leaves the count out."""

    items: Sequence[CachedObject]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query parameters of a LIST, as the client sent them."""

    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_token: str = ""


class Snapshots(Protocol):
    """What a list needs from its cache."""

    async def fresh_revision(self) -> int:
        """Wait until the cache is as new as the store, and say how new that is."""
        ...

    async def reach(self, revision: int) -> int:
        """Wait until the cache has seen ``revision``; raises 504. The cache's revision."""
        ...

    def current(self, selection: Selection, start: str) -> Sequence[CachedObject]:
        """Objects now, at least all that ``selection`` matches, in order from ``start`` on."""
        ...

    async def past(self, prefix: str, start: str, revision: int) -> Sequence[CachedObject]:
        """Objects at a revision; raises Compacted."""
        ...


async def list_objects(source: Snapshots, selection: Selection, options: ListOptions) -> Listing:
    """Answer a LIST; raises StatusError 400, 410, 422 and 504 like upstream."""
    validate_list(options.resource_version, options.match, options.continue_token)
    start, exact = _start_and_revision(selection, options)
    if exact:
        candidates = await _at_revision(source, selection, options, start, exact)
        return _page(candidates, exact, selection, max(options.limit, 0))
    if options.continue_token or not options.resource_version:
        revision = await source.fresh_revision()
    else:
        revision = await source.reach(list_revision(options.resource_version))
    # A list that takes any version comes whole: pages of an unknown revision could not go on.
    limit = 0 if options.resource_version == "0" else max(options.limit, 0)
    return _page(source.current(selection, start), revision, selection, limit)


def _start_and_revision(selection: Selection, options: ListOptions) -> tuple[str, int]:
    """From which key, and at which exact revision (0: the newest)."""
    if options.continue_token:
        token = ContinueToken.decode(options.continue_token, selection.prefix)
        if options.resource_version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        return token.start, max(token.revision, 0)
    revision = list_revision(options.resource_version)
    pinned = options.match == EXACT or (options.match != NOT_OLDER_THAN and options.limit > 0)
    return "", revision if pinned else 0


async def _at_revision(
    source: Snapshots, selection: Selection, options: ListOptions, start: str, revision: int
) -> Sequence[CachedObject]:
    current = await source.reach(revision)
    if current == revision:
        return source.current(selection, start)
    try:
        return await source.past(selection.prefix, start, revision)
    except Compacted:
        if options.continue_token:
            raise ContinueExpired(ContinueToken(-1, start).encode(selection.prefix)) from None
        raise expired(LIST_EXPIRED) from None


def _page(
    candidates: Sequence[CachedObject], revision: int, selection: Selection, limit: int
) -> Listing:
    if selection.selects_all:
        if not limit or len(candidates) <= limit:
            return Listing(candidates, revision)
        items = candidates[:limit]
        remaining: int | None = len(candidates) - limit
    else:
        items, more = _select(candidates, selection, limit)
        if not more:
            return Listing(items, revision)
        remaining = None
    token = ContinueToken(revision, items[-1].key + "\x00").encode(selection.prefix)
    return Listing(items, revision, token, remaining)


def _select(
    candidates: Sequence[CachedObject], selection: Selection, limit: int
) -> tuple[Sequence[CachedObject], bool]:
    """The first matches, and whether candidates are left."""
    if not limit:
        return [cached for cached in candidates if selection.matches(cached)], False
    items: list[CachedObject] = []
    for position, cached in enumerate(candidates, 1):
        if selection.matches(cached):
            items.append(cached)
            if len(items) >= limit:
                return items, position < len(candidates)
    return items, False
