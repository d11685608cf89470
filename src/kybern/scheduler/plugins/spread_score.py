"""Soft topology spread: the fewer matching pods in a row's domains, the better.

Counts weigh with the logarithm of the number of domains, so that few zones do not drown in many
hosts; which domains there are is taken from the feasible nodes only.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.columns.domain_sums import DomainSums
from kybern.scheduler.columns.traits import CountTrait, LabelTrait, Trait
from kybern.scheduler.plugin import MAX_SCORE, Basis, Score
from kybern.scheduler.plugins.spread_constraint import Constraint, CountedNodes, counter_of
from kybern.scheduler.pod_shape import PodShape

HOSTNAME = "kubernetes.io/hostname"
IGNORED = -1


class SpreadScore(Score):
    basis = Basis.CLUSTER
    normalises = True

    def __init__(
        self,
        cluster: ClusterColumns,
        shape: PodShape,
        constraints: Sequence[Constraint],
        needs_all_keys: bool,
    ) -> None:
        self._cluster = cluster
        self._constraints = constraints
        self._needs_all_keys = needs_all_keys
        self._counted = CountedNodes(cluster, shape, constraints, needs_all_keys)
        self._sums = [
            DomainSums(cluster.nodes, c.key, counter_of(cluster, shape.namespace, c.selector))
            for c in constraints
        ]

    def raw(self, rows: Any) -> Values:
        """``rows`` are the feasible ones; rows without a needed label get ``IGNORED``."""
        return self.raw_of_kinds(rows, np.ones(self._cluster.nodes.count(rows), dtype=np.int64))

    def raw_of_kinds(self, rows: Any, counts: Values) -> Values:
        nodes = self._cluster.nodes
        domains = [nodes.label(c.key).domains.values[rows] for c in self._constraints]
        ignored = np.zeros(nodes.count(rows), dtype=np.bool_)
        if self._needs_all_keys:
            for ids in domains:
                ignored |= ids < 0
        total: NDArray[np.float64] = np.zeros(len(ignored))
        for index, (constraint, ids) in enumerate(zip(self._constraints, domains, strict=True)):
            if constraint.key == HOSTNAME:
                size = int(counts[~ignored].sum())
            else:
                # Rows without the label are a domain here, too: the last one.
                seen = np.zeros(len(nodes.label(constraint.key).values) + 1, dtype=np.bool_)
                seen[ids[~ignored]] = True
                size = int(seen.sum())
            score = self._pods(index, rows) * math.log(size + 2) + (constraint.max_skew - 1)
            total += np.where(ids >= 0, score, 0.0)
        rounded: Values = np.floor(total + 0.5).astype(np.int64)
        return np.where(ignored, IGNORED, rounded)

    def normalised(self, raw: Values, rows: Rows) -> Values:
        judged = raw != IGNORED
        if not judged.any():
            return np.zeros_like(raw)
        least, most = int(raw[judged].min()), int(raw[judged].max())
        if most == 0:
            return np.where(judged, MAX_SCORE, 0)
        return np.where(judged, MAX_SCORE * (most + least - raw) // most, 0)

    def traits(self) -> Sequence[Trait]:
        nodes = self._cluster.nodes
        return [
            CountTrait(nodes.label(sums.key), sums.counter)
            if sums.key == HOSTNAME
            else LabelTrait(nodes.label(sums.key))
            for sums in self._sums
        ]

    def close(self) -> None:
        for sums in self._sums:
            self._cluster.groups.release(sums.counter)

    def _pods(self, index: int, rows: Any) -> Values:
        """Matching pods in each row's domain."""
        sums = self._sums[index]
        if self._constraints[index].key == HOSTNAME:
            return sums.counter.counts.values[rows]
        return sums.by_domain(self._counted.mask(index))[sums.domains(rows)]
