"""Placed pods grouped by what selectors can see of them, and counters over the groups.

A pod's group is its namespace, its labels (those keys that some counter looks at), its affinity
terms and whether it is terminating. A counter weighs each group once (how many of my terms speak of
such a pod?) and then follows placements with one addition a pod: selectors are matched once a
group, never once a pod. Groups live while they have pods; counters while a pod class uses them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kybern.scheduler.affinity_terms import NO_TERMS, AffinityTerms, affinity_terms
from kybern.scheduler.columns.change_log import ChangeLog
from kybern.scheduler.columns.column import Column

Obj = dict[str, Any]

# Who sums a counter up and is further behind than this sums up anew.
LOGGED = 512


class GroupKey(NamedTuple):
    namespace: str
    labels: tuple[tuple[str, str], ...]
    terms: AffinityTerms
    is_terminating: bool


class MatchGroup:
    """Pods that no selector in use can tell apart."""

    __slots__ = ("counters", "key", "labels", "rows")

    def __init__(self, key: GroupKey) -> None:
        self.key = key
        self.labels = dict(key.labels)
        self.rows: dict[int, int] = {}
        self.counters: list[tuple[RowCounter, int]] = []


Weigh = Callable[[MatchGroup], int]


class RowCounter:
    """A weighted number of pods for each node row; the log says what was added to which row."""

    __slots__ = ("counts", "key", "log", "users", "weigh")

    def __init__(self, key: Any, weigh: Weigh, capacity: int) -> None:
        self.key = key
        self.weigh = weigh
        self.users = 0
        self.counts = Column(capacity)
        self.log: ChangeLog[tuple[int, int]] = ChangeLog(LOGGED)

    def add(self, row: int, weight: int) -> None:
        self.counts.cells[row] += weight
        self.log.append((row, weight))

    def clear(self) -> None:
        self.counts.values[:] = 0
        self.log.forget()


class MatchGroups:
    """All groups and counters of a cluster."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._label_keys: dict[str, None] = {}
        self._groups: dict[GroupKey, MatchGroup] = {}
        self._counters: dict[Any, RowCounter] = {}
        self._term_keys: dict[str, dict[str, int]] = {
            "required": {},
            "preferred": {},
            "required_anti": {},
            "preferred_anti": {},
        }
        self.keys_version = 0
        self.terms_version = 0

    def grow(self, capacity: int) -> None:
        self._capacity = capacity
        for counter in self._counters.values():
            counter.counts.grow(capacity)

    def project(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The labels that selectors in use look at."""
        return tuple((key, labels[key]) for key in self._label_keys if key in labels)

    def watch_labels(self, keys: Iterable[str]) -> bool:
        """Selectors look at these keys from now on; True if groups must be made anew."""
        fresh = [key for key in keys if key not in self._label_keys]
        self._label_keys.update(dict.fromkeys(fresh))
        self.keys_version += bool(fresh)
        return bool(fresh)

    def term_keys(self, kind: str) -> tuple[str, ...]:
        """The topology keys of ``kind`` terms that placed pods own."""
        return tuple(self._term_keys[kind])

    def group_of(self, pod: Obj) -> GroupKey:
        meta = pod["metadata"]
        has_affinity = "affinity" in pod["spec"]
        return GroupKey(
            meta.get("namespace", ""),
            self.project(meta.get("labels") or {}),
            affinity_terms(pod) if has_affinity else NO_TERMS,
            "deletionTimestamp" in meta,
        )

    def add(self, key: GroupKey, row: int) -> MatchGroup:
        """A pod of this group was placed."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = MatchGroup(key)
            self._count_terms(key.terms, 1)
            for counter in self._counters.values():
                if weight := counter.weigh(group):
                    group.counters.append((counter, weight))
        group.rows[row] = group.rows.get(row, 0) + 1
        for counter, weight in group.counters:
            counter.add(row, weight)
        return group

    def remove(self, group: MatchGroup, row: int) -> None:
        """A pod of this group left."""
        for counter, weight in group.counters:
            counter.add(row, -weight)
        left = group.rows[row] - 1
        if left:
            group.rows[row] = left
            return
        del group.rows[row]
        if not group.rows:
            del self._groups[group.key]
            self._count_terms(group.key.terms, -1)

    def counter(self, key: Any, weigh: Weigh) -> RowCounter:
        """The shared counter under ``key``; give it back with :meth:`release`."""
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = RowCounter(key, weigh, self._capacity)
            self._link(counter)
        counter.users += 1
        return counter

    def release(self, counter: RowCounter) -> None:
        counter.users -= 1
        if counter.users:
            return
        del self._counters[counter.key]
        for group in self._groups.values():
            group.counters = [link for link in group.counters if link[0] is not counter]

    def relink(self) -> None:
        """Weigh everything again: Namespace labels changed."""
        for group in self._groups.values():
            group.counters.clear()
        for counter in self._counters.values():
            counter.clear()
            self._link(counter)

    def clear(self) -> None:
        """Forget all groups (the caller adds every pod again); counters stay."""
        self._groups.clear()
        for kinds in self._term_keys.values():
            kinds.clear()
        for counter in self._counters.values():
            counter.clear()

    def _link(self, counter: RowCounter) -> None:
        for group in self._groups.values():
            if weight := counter.weigh(group):
                group.counters.append((counter, weight))
                for row, pods in group.rows.items():
                    counter.add(row, weight * pods)

    def _count_terms(self, terms: AffinityTerms, change: int) -> None:
        if not terms:
            return
        for kind, keys in self._term_keys.items():
            for term in getattr(terms, kind):
                count = keys.get(term.topology_key, 0) + change
                if count == change:
                    self.terms_version += 1
                if count:
                    keys[term.topology_key] = count
                else:
                    del keys[term.topology_key]
                    self.terms_version += 1
