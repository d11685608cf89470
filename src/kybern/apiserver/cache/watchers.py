"""Finds the watches that a change concerns.

Each watch is filed under its narrowest topic: one key, one value of an indexed field (a node's
pods), or a prefix. A change then looks at a handful of topics, so thousands of kubelets, each
watching a few objects, cost it nothing.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from kybern.apiserver.cache.events import CacheChange, Selection
from kybern.apiserver.cache.objects import CachedObject
from kybern.apiserver.cache.watch import Watch


class Topic(NamedTuple):
    """``field`` is empty for keys and prefixes."""

    field: str
    value: str


class Watchers:
    """The open watches of one resource, by topic; the order of publishing is that of opening."""

    def __init__(self, indexed_fields: Sequence[str]) -> None:
        self._indexed_fields = tuple(indexed_fields)
        self._by_topic: dict[Topic, dict[Watch, None]] = {}

    def __len__(self) -> int:
        return sum(len(watches) for watches in self._by_topic.values())

    def count(self, key: str) -> int:
        """How many watches look at every change of a key, whatever its fields."""
        topics = (Topic("", key), *_prefixes(key.rpartition("/")[0]))
        return sum(len(self._by_topic[topic]) for topic in topics if topic in self._by_topic)

    def add(self, watch: Watch, key: str | None) -> None:
        """File a watch; ``key`` is the only one it can select, if there is such a one."""
        topic = self._topic(watch.selection, key)
        self._by_topic.setdefault(topic, {})[watch] = None

    def remove(self, watch: Watch, key: str | None) -> None:
        topic = self._topic(watch.selection, key)
        watches = self._by_topic.get(topic)
        if watches is not None:
            watches.pop(watch, None)
            if not watches:
                del self._by_topic[topic]

    def publish(self, change: CacheChange) -> None:
        for topic in self._topics(change):
            for watch in self._by_topic.get(topic, ()):
                watch.offer(change)

    def close(self) -> None:
        """End every watch."""
        for watches in list(self._by_topic.values()):
            for watch in list(watches):
                watch.close()

    def _topic(self, selection: Selection, key: str | None) -> Topic:
        if key is not None:
            return Topic("", key)
        if selection.fields is not None:
            for field in self._indexed_fields:
                value = selection.fields.exact(field)
                if value is not None:
                    return Topic(field, value)
        return Topic("", selection.prefix)

    def _topics(self, change: CacheChange) -> dict[Topic, None]:
        """Every topic under which a watch of this change can be filed."""
        collection = change.key.rpartition("/")[0]
        topics = dict.fromkeys((Topic("", change.key), *_prefixes(collection)))
        for cached in (change.previous, change.entry):
            if cached is not None:
                topics.update(self._field_topics(cached))
        return topics

    def _field_topics(self, cached: CachedObject) -> dict[Topic, None]:
        return {Topic(field, cached.fields.get(field, "")): None for field in self._indexed_fields}


@lru_cache(maxsize=4096)
def _prefixes(collection: str) -> tuple[Topic, ...]:
    """The prefixes of the keys of a collection, from its own up."""
    found: list[Topic] = []
    while collection:
        found.append(Topic("", collection + "/"))
        collection = collection.rpartition("/")[0]
    return tuple(found)
