"""How admission, authorization and allocation read the cluster: by resource, from the caches.

They see a narrow :class:`Lookup`, so that a table test hands them a dict of objects. Every answer
is what this process knows now; its own committed writes are in it. Objects are read-only.
"""

from collections.abc import Callable
from typing import Protocol

from kybern.api.errors import Obj
from kybern.api.resources import Resource

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
