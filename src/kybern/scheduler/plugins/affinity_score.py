"""Preferred inter-pod affinity: weights of all terms, of both sides, summed by domain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.affinity_terms import AffinityTerm
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.columns.domain_sums import DomainSums
from kybern.scheduler.columns.match_groups import MatchGroup, Weigh
from kybern.scheduler.columns.traits import DomainTrait, Trait
from kybern.scheduler.plugin import MAX_SCORE, Basis, Score
from kybern.scheduler.pod_shape import PodShape


class PodAffinityScore(Score):
    """One counter for each topology key; a required term of a pod in place weighs
    ``hard_weight``."""

    basis = Basis.CLUSTER
    normalises = True

    def __init__(
        self, cluster: ClusterColumns, shape: PodShape, keys: Sequence[str], hard_weight: int
    ) -> None:
        self._cluster = cluster
        who = (shape.namespace, tuple(sorted(shape.labels.items())), shape.terms, hard_weight)
        self._sums = [
            DomainSums(
                cluster.nodes,
                key,
                cluster.groups.counter(
                    ("preferred", key, who), _weigh(cluster, shape, key, hard_weight)
                ),
            )
            for key in keys
        ]

    def raw(self, rows: Any) -> Values:
        nodes = self._cluster.nodes
        total: Values = np.zeros(nodes.count(rows), dtype=np.int64)
        for sums in self._sums:
            total += sums.over(rows)
        return total

    def traits(self) -> Sequence[Trait]:
        return [DomainTrait(self._cluster.nodes, sums) for sums in self._sums]

    def normalised(self, raw: Values, rows: Rows) -> Values:
        least, most = int(raw.min()), int(raw.max())
        if most == least:
            return np.zeros_like(raw)
        share: NDArray[np.float64] = (raw - least) / (most - least)
        scaled: Values = (MAX_SCORE * share).astype(np.int64)
        return scaled

    def close(self) -> None:
        for sums in self._sums:
            self._cluster.groups.release(sums.counter)


def _weigh(cluster: ClusterColumns, shape: PodShape, key: str, hard_weight: int) -> Weigh:
    def weigh(group: MatchGroup) -> int:
        there = group.key.namespace
        there_labels = cluster.namespace_labels(there)
        here_labels = cluster.namespace_labels(shape.namespace)

        def mine(terms: Sequence[AffinityTerm]) -> int:
            return sum(
                term.weight
                for term in terms
                if term.topology_key == key and term.matches(there, group.labels, there_labels)
            )

        def theirs(terms: Sequence[AffinityTerm], hard: int = 0) -> int:
            return sum(
                hard or term.weight
                for term in terms
                if term.topology_key == key
                and term.matches(shape.namespace, shape.labels, here_labels)
            )

        total = mine(shape.terms.preferred) - mine(shape.terms.preferred_anti)
        others = group.key.terms
        if hard_weight > 0:
            total += theirs(others.required, hard_weight)
        return total + theirs(others.preferred) - theirs(others.preferred_anti)

    return weigh
