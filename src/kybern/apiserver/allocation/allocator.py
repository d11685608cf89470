"""The interface between the verbs and whatever is allocated for a kind."""

from typing import Protocol

from kybern.api.errors import Obj


class Allocation(Protocol):
    """What one write has taken. Exactly one of the two is called, unless the process dies."""

    async def commit(self) -> None:
        """The object is stored: give back what its old state held and its new one does not."""
        ...

    async def revert(self) -> None:
        """The object was not stored: give back what was taken for it."""
        ...


class Allocator(Protocol):
    """Takes and gives back for the objects of one kind."""

    async def create(self, obj: Obj, dry_run: bool) -> Allocation:
        """Fill in a named, new object before it is validated; raises StatusError."""
        ...

    async def update(self, new: Obj, old: Obj, dry_run: bool) -> Allocation:
        """Fill in a changed object before it is validated; raises StatusError."""
        ...

    async def deleted(self, obj: Obj) -> None:
        """The object is gone: give back all it held."""
        ...
