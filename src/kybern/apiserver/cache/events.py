"""What a watcher receives, and the change it comes from.

A :class:`CacheChange` is one committed change of one object. Seen through a selector it becomes
ADDED, MODIFIED or DELETED as the object moves in and out, so a change yields at most one event of
each type; each is made once and shared, encodings included, by all the watchers that get it.
"""

from collections.abc import Callable, Hashable

from kybern.api.selectors import FieldSelector, LabelSelector
from kybern.apiserver.cache.objects import CachedObject

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"


class WatchEvent:
    """One event. A BOOKMARK has no object; ``initial_events_end`` marks the end of the list."""

    __slots__ = ("_encoded", "initial_events_end", "object", "revision", "type")

    def __init__(
        self,
        type: str,
        object: CachedObject | None,
        revision: int,
        initial_events_end: bool = False,
    ) -> None:
        self.type = type
        self.object = object
        self.revision = revision
        self.initial_events_end = initial_events_end
        self._encoded: dict[Hashable, bytes] | None = None

    def encoded(self, form: Hashable, encode: Callable[["WatchEvent"], bytes]) -> bytes:
        """The event in one wire form, made for its first watcher and shared with the others."""
        if self._encoded is None:
            self._encoded = {}
        found = self._encoded.get(form)
        if found is None:
            found = self._encoded[form] = encode(self)
        return found

    def json(self) -> bytes:
        """One line of a watch stream in the storage version; not for bookmarks."""
        return self.encoded(None, _line)

    def __repr__(self) -> str:
        key = self.object.key if self.object else ""
        return f"WatchEvent({self.type}, {key!r}, {self.revision})"


def _line(event: WatchEvent) -> bytes:
    assert event.object is not None, "a bookmark's object depends on the kind that is served"
    return b'{"type":"%b","object":%b}\n' % (event.type.encode(), event.object.json())


class Selection:
    """The objects a request asks for: keys under a prefix that match both selectors."""

    __slots__ = ("fields", "labels", "prefix")

    def __init__(
        self, prefix: str, labels: LabelSelector | None, fields: FieldSelector | None
    ) -> None:
        self.prefix = prefix
        self.labels = None if labels is None or labels.empty else labels
        self.fields = None if fields is None or fields.empty else fields

    @property
    def selects_all(self) -> bool:
        """Whether nothing but the prefix restricts it."""
        return self.labels is None and self.fields is None

    def matches(self, cached: CachedObject) -> bool:
        """Whether an object whose key is under the prefix matches the selectors."""
        return (self.labels is None or self.labels.matches(cached.labels)) and (
            self.fields is None or self.fields.matches(cached.fields)
        )


class CacheChange:
    """One committed change: the object before and after; None where it did not exist."""

    __slots__ = ("_events", "entry", "key", "previous", "revision")

    def __init__(
        self, key: str, revision: int, entry: CachedObject | None, previous: CachedObject | None
    ) -> None:
        self.key = key
        self.revision = revision
        self.entry = entry
        self.previous = previous
        self._events: dict[str, WatchEvent] = {}

    def seen_by(self, selection: Selection) -> WatchEvent | None:
        """The event that a watcher of ``selection`` gets, if any."""
        if not self.key.startswith(selection.prefix):
            return None
        current = self.entry is not None and selection.matches(self.entry)
        previous = self.previous is not None and selection.matches(self.previous)
        if current:
            return self._event(MODIFIED if previous else ADDED)
        return self._event(DELETED) if previous else None

    def _event(self, type: str) -> WatchEvent:
        event = self._events.get(type)
        if event is None:
            cached = self.entry
            if type == DELETED:
                assert self.previous is not None, "only what existed can go"
                cached = self.previous.at_revision(self.revision)
            event = self._events[type] = WatchEvent(type, cached, self.revision)
        return event
