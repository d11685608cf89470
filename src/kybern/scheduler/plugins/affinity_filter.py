"""Required inter-pod affinity and anti-affinity, both ways."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows
from kybern.scheduler.columns.domain_sums import DomainSums
from kybern.scheduler.columns.match_groups import MatchGroup, Weigh
from kybern.scheduler.columns.traits import DomainTrait, Trait
from kybern.scheduler.plugin import Basis, Filter, Verdict
from kybern.scheduler.pod_shape import PodShape

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


class PodAffinityFilter(Filter):
    """``others`` are the topology keys of anti-affinity terms of pods in place."""

    basis = Basis.CLUSTER

    def __init__(self, cluster: ClusterColumns, shape: PodShape, others: Sequence[str]) -> None:
        self._cluster = cluster
        self._shape = shape
        terms = shape.terms
        matches_all = self._matches_all()
        self._together = [
            self._sums(key, "together", terms.required, matches_all)
            for key in dict.fromkeys(term.topology_key for term in terms.required)
        ]
        self._apart = [
            self._sums(term.topology_key, "apart", term, self._matches_one(term))
            for term in terms.required_anti
        ]
        who = (shape.namespace, tuple(sorted(shape.labels.items())))
        self._others = [
            self._sums(key, "owners", (key, who), self._owned_against(key)) for key in others
        ]
        labels = cluster.namespace_labels(shape.namespace)
        self._matches_itself = all(
            term.matches(shape.namespace, shape.labels, labels) for term in terms.required
        )

    def feasible(self, rows: Any) -> Mask:
        return self._near(rows) & ~self._repelled(rows, self._apart, self._others)

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        near = self._near(rows)
        repelled = self._repelled(rows, self._apart)
        parts = (
            (rows[~near], AFFINITY, True),
            (rows[near & repelled], ANTI_AFFINITY, False),
            (rows[near & ~repelled], EXISTING, False),
        )
        return [Verdict(plugin, (why,), final, part) for part, why, final in parts if len(part)]

    def traits(self) -> Sequence[Trait]:
        every = self._together + self._apart + self._others
        return [DomainTrait(self._cluster.nodes, sums, is_sign=True) for sums in every]

    def is_idle(self) -> bool:
        """The pod has no terms of its own, and those of pods in place do not speak of it."""
        if self._together or self._apart:
            return False
        return not any(sums.counter.counts.values.any() for sums in self._others)

    def close(self) -> None:
        for sums in self._together + self._apart + self._others:
            self._cluster.groups.release(sums.counter)

    def _near(self, rows: Any) -> Mask:
        """Pods that meet all required terms run in the row's domain of every key."""
        nodes = self._cluster.nodes
        labelled: Mask = np.ones(nodes.count(rows), dtype=np.bool_)
        found: Mask = np.ones(len(labelled), dtype=np.bool_)
        is_first = self._matches_itself
        for sums in self._together:
            by_domain, domains = sums.by_domain(), sums.domains(rows)
            labelled &= domains >= 0
            found &= by_domain[domains] > 0
            is_first = is_first and not by_domain.any()
        # The first of a series with affinity to itself may go anywhere that has the labels.
        return labelled if is_first else labelled & found

    def _repelled(self, rows: Any, *kinds: Sequence[DomainSums]) -> Mask:
        result: Mask = np.zeros(self._cluster.nodes.count(rows), dtype=np.bool_)
        for kind in kinds:
            for sums in kind:
                result |= sums.over(rows) > 0
        return result

    def _sums(self, topology_key: str, kind: str, key: Any, weigh: Weigh) -> DomainSums:
        counter = self._cluster.groups.counter((kind, key), weigh)
        return DomainSums(self._cluster.nodes, topology_key, counter)

    def _matches_all(self) -> Weigh:
        cluster, terms = self._cluster, self._shape.terms.required

        def weigh(group: MatchGroup) -> int:
            labels = cluster.namespace_labels(group.key.namespace)
            return int(
                bool(terms)
                and all(t.matches(group.key.namespace, group.labels, labels) for t in terms)
            )

        return weigh

    def _matches_one(self, term: Any) -> Weigh:
        cluster = self._cluster

        def weigh(group: MatchGroup) -> int:
            labels = cluster.namespace_labels(group.key.namespace)
            return int(term.matches(group.key.namespace, group.labels, labels))

        return weigh

    def _owned_against(self, key: str) -> Weigh:
        """Anti-affinity terms over ``key`` that a group's pods own and that speak of the pod."""
        cluster, shape = self._cluster, self._shape

        def weigh(group: MatchGroup) -> int:
            labels = cluster.namespace_labels(shape.namespace)
            return sum(
                term.topology_key == key and term.matches(shape.namespace, shape.labels, labels)
                for term in group.key.terms.required_anti
            )

        return weigh
