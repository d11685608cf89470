"""The pod classes of one profile: found by the shape of a pod, made when it is new.

Kept by ``decision.Decider``; up to ``CLASSES`` of them, the least used go first. Classes of pods
with claims serve until the next change of storage, so few of these are kept. All go when plugins
say that what they handed out is out of date.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from weakref import WeakValueDictionary

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.node_facts import NodeFacts, WeightedScore, sharing_key
from kybern.scheduler.plugin import Basis, Obj
from kybern.scheduler.pod_class import NamedFilters, PodClass
from kybern.scheduler.pod_shape import make_shape, shape_key
from kybern.scheduler.pod_storage import storage_facts
from kybern.scheduler.profile import Profile
from kybern.scheduler.row_totals import RowTotals

CLASSES = 1024
PASSING_CLASSES = 16


class ClassCache:
    """Classes by shape, and what they share for as long as one of them uses it."""

    def __init__(self, cluster: ClusterColumns, profile: Profile) -> None:
        self._cluster = cluster
        self._profile = profile
        self._classes: OrderedDict[bytes, PodClass] = OrderedDict()
        self._facts: WeakValueDictionary[Hashable, NodeFacts] = WeakValueDictionary()
        self._totals: WeakValueDictionary[Hashable, RowTotals] = WeakValueDictionary()
        self._passing: deque[bytes] = deque()
        self._version = profile.version()

    def of(self, pod: Obj) -> PodClass:
        """The class of the pod's shape, made if it is new."""
        version = self._profile.version()
        if version != self._version:
            self._version = version
            self._forget()
        selector = self._profile.default_selector(pod)
        text = str(selector) if selector is not None else ""
        labels = pod["metadata"].get("labels") or {}
        groups, there = self._cluster.groups, self._cluster.storage
        facts = storage_facts(pod, there.backed)
        storage = facts and (facts, there.version)
        key = shape_key(pod, groups.project(labels), text, storage)
        found = self._classes.get(key)
        if found is not None:
            self._classes.move_to_end(key)
            return found
        shape, seen = make_shape(key, pod, labels, selector), groups.keys_version
        made = PodClass(shape, self._profile, self._cluster, self._totals_for)
        if groups.keys_version != seen:
            # Its selectors look at more labels than before: file it under what they see now.
            key = shape_key(pod, groups.project(labels), text, storage)
        self._keep(key, made, is_passing=facts is not None)
        return made

    def _keep(self, key: bytes, made: PodClass, is_passing: bool) -> None:
        self._close(key)
        self._classes[key] = made
        if is_passing:
            self._passing.append(key)
        if len(self._passing) > PASSING_CLASSES:
            self._close(self._passing.popleft())
        if len(self._classes) > CLASSES:
            self._classes.popitem(last=False)[1].close()

    def _close(self, key: bytes) -> None:
        if (found := self._classes.pop(key, None)) is not None:
            found.close()

    def _forget(self) -> None:
        for pod_class in self._classes.values():
            pod_class.close()
        self._classes.clear()
        self._facts.clear()
        self._totals.clear()
        self._passing.clear()

    def _totals_for(self, filters: NamedFilters, scores: Sequence[WeightedScore]) -> RowTotals:
        """What these filters and the plain scores say together."""
        on_nodes = [one for one in filters if one[1].basis is Basis.NODE]
        on_usage = [one for one in filters if one[1].basis is Basis.USAGE]
        facts = self._facts_for(on_nodes, [s for s in scores if s.score.basis is Basis.NODE])
        plain = [s for s in scores if not s.score.normalises]
        assert not any(one.score.basis is Basis.CLUSTER for one in plain)
        plain = [s for s in plain if s.score.basis is Basis.USAGE]
        key = sharing_key(on_usage, plain)
        found = self._totals.get((facts, key)) if key is not None else None
        if found is None:
            found = RowTotals(self._cluster, facts, [f for _, f in on_usage], plain)
            if key is not None:
                self._totals[facts, key] = found
        return found

    def _facts_for(self, filters: NamedFilters, scores: Sequence[WeightedScore]) -> NodeFacts:
        key = sharing_key(filters, scores)
        found = self._facts.get(key) if key is not None else None
        if found is None:
            found = NodeFacts(self._cluster, filters, scores)
            if key is not None:
                self._facts[key] = found
        return found
