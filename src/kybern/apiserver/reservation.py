"""What a write takes beside its object: held while the write is under way, settled by its outcome.

Creation and replacement wrap preparation, validation and the store in :func:`reserved`; deletion
calls :func:`release`. Only kinds with an allocator (Services) have anything to take.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kybern.api.errors import Obj
from kybern.apiserver.call import Call


@asynccontextmanager
async def reserved(call: Call, new: Obj, old: Obj | None, dry_run: bool) -> AsyncIterator[None]:
    """Allocate into ``new``; the end of the block commits, a failure gives everything back."""
    allocator = call.services.allocators.get((call.kind.group, call.kind.plural))
    if allocator is None or call.info.subresource or not new["metadata"].get("name"):
        # What has no name is refused by validation; it must not take anything first.
        yield
        return
    if old is None:
        allocation = await allocator.create(new, dry_run)
    else:
        allocation = await allocator.update(new, old, dry_run)
    try:
        yield
    except Exception:
        # A cancelled write may have been stored all the same; the repair loop finds out.
        await allocation.revert()
        raise
    await allocation.commit()


async def release(call: Call, obj: Obj) -> None:
    """The object is gone from the store."""
    allocator = call.services.allocators.get((call.kind.group, call.kind.plural))
    if allocator is not None:
        await allocator.deleted(obj)
