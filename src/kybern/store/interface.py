"""What every store is: etcd's model, small.

A store maps keys (``/pods/default/web-0``) to payload bytes and numbers every change with one
revision that only grows. The watch cache of the API server is its only reader on the hot path;
the write path guards each change with the modification revision it has seen. Payloads hold no
resourceVersion, because on etcd the revision is unknown before the commit.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's live value. ``create_revision == mod_revision`` right after its creation."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change. ``entry`` is None for a deletion; ``previous`` None for a creation.

    Keys that go together when their lease ends share one revision.
    """

    revision: int
    key: str
    entry: Entry | None
    previous: Entry | None


@dataclass(frozen=True, slots=True)
class Page:
    """A range of keys at ``revision``; ``remaining`` counts what the limit left out."""

    entries: Sequence[Entry]
    revision: int
    remaining: int


class RevisionMismatch(Exception):
    """The guard did not hold; ``current`` is what is stored now (None: the key does not exist)."""

    def __init__(self, current: Entry | None) -> None:
        super().__init__("revision mismatch")
        self.current = current


class Compacted(Exception):
    """The revision asked for is older than the last compaction."""

    def __init__(self, compacted_revision: int) -> None:
        super().__init__(f"compacted at revision {compacted_revision}")
        self.compacted_revision = compacted_revision


class FutureRevision(Exception):
    """The revision asked for has not been reached yet."""


class StoreError(Exception):
    """The store cannot do what it was asked for; the text says why."""


class StoreClosed(StoreError):
    """The store was closed, or its disk failed; nothing was written."""


class StoreFailed(StoreError):
    """A store elsewhere refused a request, or did not answer; the next one may succeed.

    A write whose answer is missing may have happened.
    """

    def __init__(self, why: str, timed_out: bool = False) -> None:
        super().__init__(why)
        self.timed_out = timed_out


Progressed = Callable[[int], None]


class Store(Protocol):
    """One interface; ``memory.py``, ``sqlite.py`` and ``etcd.py`` stand behind it.

    A write returns only after it is durable. Watches deliver every change once, in revision order,
    and only durable ones. Any operation raises StoreError.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes write to it, too; only such a store removes keys by itself."""
        ...

    @property
    def problem(self) -> str:
        """Why the store does not answer at the moment; empty while it does."""
        ...

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> Entry:
        """Store a key that must not exist; raises RevisionMismatch.

        A shared store removes it after ``ttl`` seconds, or a little later; 0 is never.
        """
        ...

    async def update(self, key: str, value: bytes, mod_revision: int, *, ttl: int = 0) -> Entry:
        """Replace a key whose modification revision is ``mod_revision``; RevisionMismatch."""
        ...

    async def delete(self, key: str, mod_revision: int) -> Entry:
        """Remove a key; returns its last value with mod_revision set to the deletion's."""
        ...

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        """The value now, or at a past revision; raises Compacted and FutureRevision."""
        ...

    async def list(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Keys under ``prefix`` from ``start`` on, in byte order; 0 is no limit, and now."""
        ...

    def watch(
        self, prefix: str, after_revision: int, progressed: Progressed | None = None
    ) -> AsyncIterator[Change]:
        """Changes under ``prefix`` with a revision above ``after_revision``; raises Compacted.

        ``progressed`` is told of revisions up to which nothing is to come that the iteration has
        not delivered, where changes elsewhere have moved a shared store's revision.
        """
        ...

    async def nudge(self) -> None:
        """Make open watches of a shared store show how far they are, by a change or progress."""
        ...

    async def revision(self) -> int:
        """The newest committed revision."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget what is not needed to read at ``revision`` or later."""
        ...

    def compactions(self, interval: float) -> AsyncIterator[int]:
        """Compact every ``interval`` seconds to where the store was at the turn before.

        Yields the revisions that it is compacted to, by this process or by another.
        """
        ...

    async def close(self) -> None:
        """Finish pending writes, end all watches, release the files."""
        ...
