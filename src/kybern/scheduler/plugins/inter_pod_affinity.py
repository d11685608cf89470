"""InterPodAffinity: run near pods, or away from them.

Both ways count: the pod's own terms against pods in place, and the terms of pods in place against
the pod. ``affinity_filter.py`` and ``affinity_score.py`` compute on counters by row; a change in
who owns terms, or in Namespace labels, makes classes anew.
"""

from collections.abc import Sequence
from typing import Any

from kybern.scheduler.affinity_terms import AffinityTerm, affinity_terms
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Filter, Plugin, Score
from kybern.scheduler.plugins.affinity_filter import PodAffinityFilter
from kybern.scheduler.plugins.affinity_score import PodAffinityScore
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        super().__init__(cluster, args)
        weight = args.get("hardPodAffinityWeight")
        self._hard_weight = 1 if weight is None else weight
        self._ignores_others = bool(args.get("ignorePreferredTermsOfExistingPods"))

    def version(self) -> int:
        return self.cluster.groups.terms_version + self.cluster.namespaces_version

    def filter(self, shape: PodShape) -> Filter | None:
        terms = shape.terms
        others = self.cluster.groups.term_keys("required_anti")
        if not terms.required and not terms.required_anti and not others:
            return None
        self.cluster.watch_labels(term.selector for term in terms.all())
        return PodAffinityFilter(self.cluster, shape, others)

    def score(self, shape: PodShape) -> Score | None:
        own = (*shape.terms.preferred, *shape.terms.preferred_anti)
        keys = dict.fromkeys(term.topology_key for term in own)
        if own or not self._ignores_others:
            kinds = ["preferred", "preferred_anti"] + ["required"] * (self._hard_weight > 0)
            for kind in kinds:
                keys.update(dict.fromkeys(self.cluster.groups.term_keys(kind)))
        if not keys:
            return None
        self.cluster.watch_labels(term.selector for term in shape.terms.all())
        return PodAffinityScore(self.cluster, shape, tuple(keys), self._hard_weight)

    def registrations(self) -> Sequence[Registration]:
        pod_actions = Action.ADD | Action.DELETE | Action.UPDATE_POD_LABEL
        node_actions = Action.ADD | Action.UPDATE_NODE_LABEL
        return (
            Registration(ClusterEvent(EventResource.POD, pod_actions), self._pod_changed),
            Registration(ClusterEvent(EventResource.NODE, node_actions), _node_changed),
        )

    def _pod_changed(self, pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
        """A pod that a term of either side speaks of came, went, or changed its labels."""
        if new is not None and new["metadata"]["uid"] == pod["metadata"]["uid"]:
            return Hint.QUEUE
        terms = affinity_terms(pod)
        if new is not None and any(self._speaks_of(t, new) for t in terms.required):
            return Hint.QUEUE
        if old is None:
            return Hint.SKIP
        if any(self._speaks_of(t, old) for t in terms.required_anti):
            return Hint.QUEUE
        others = affinity_terms(old).required_anti
        return queue_if(any(self._speaks_of(term, pod) for term in others))

    def _speaks_of(self, term: AffinityTerm, pod: Obj) -> bool:
        meta = pod["metadata"]
        namespace = meta.get("namespace", "")
        labels = self.cluster.namespace_labels(namespace)
        return term.matches(namespace, meta.get("labels") or {}, labels)


def _node_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """The node came into, or moved between, domains that the pod's terms look at."""
    if new is None:
        return Hint.SKIP
    terms = affinity_terms(pod)
    after = new["metadata"].get("labels") or {}
    before = (old["metadata"].get("labels") or {}) if old is not None else {}
    keys = [term.topology_key for term in (*terms.required, *terms.required_anti)]
    if not keys:
        # Pods in place keep it away: any node outside their domains will do.
        return queue_if(old is None or before != after)
    return queue_if(any(key in after and before.get(key) != after[key] for key in keys))
