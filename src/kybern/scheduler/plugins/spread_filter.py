"""Hard topology spread: no domain may exceed the least loaded one by more than maxSkew."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows
from kybern.scheduler.columns.domain_sums import DomainSums
from kybern.scheduler.columns.traits import DomainTrait, Trait
from kybern.scheduler.plugin import Basis, Filter, Verdict
from kybern.scheduler.plugins.spread_constraint import Constraint, CountedNodes, counter_of
from kybern.scheduler.pod_shape import PodShape


class SpreadFilter(Filter):
    basis = Basis.CLUSTER
    reason = "node(s) didn't match pod topology spread constraints"
    unresolvable = False

    def __init__(
        self, cluster: ClusterColumns, shape: PodShape, constraints: Sequence[Constraint]
    ) -> None:
        self._cluster = cluster
        self._constraints = constraints
        self._counted = CountedNodes(cluster, shape, constraints, needs_all_keys=True)
        self._sums = [
            DomainSums(cluster.nodes, c.key, counter_of(cluster, shape.namespace, c.selector))
            for c in constraints
        ]
        self._own = [int(c.selector.matches(shape.labels)) for c in constraints]

    def feasible(self, rows: Any) -> Mask:
        result: Mask = np.ones(self._cluster.nodes.count(rows), dtype=np.bool_)
        for has_label, balanced in self._judge(rows):
            result &= has_label & balanced
        return result

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        """The first constraint that fails decides whether the label or the skew is to blame."""
        missing: Mask = np.zeros(len(rows), dtype=np.bool_)
        decided: Mask = np.zeros(len(rows), dtype=np.bool_)
        for has_label, balanced in self._judge(rows):
            missing |= ~has_label & ~decided
            decided |= ~has_label | ~balanced
        result: list[Verdict] = []
        if missing.any():
            why = f"{self.reason} (missing required label)"
            result.append(Verdict(plugin, (why,), True, rows[missing]))
        if not missing.all():
            result.append(Verdict(plugin, (self.reason,), False, rows[~missing]))
        return result

    def traits(self) -> Sequence[Trait]:
        nodes, mask = self._cluster.nodes, self._counted.mask
        return [DomainTrait(nodes, s, partial(mask, i)) for i, s in enumerate(self._sums)]

    def close(self) -> None:
        for sums in self._sums:
            self._cluster.groups.release(sums.counter)

    def _judge(self, rows: Any) -> list[tuple[Mask, Mask]]:
        """For each constraint: the row has the label; the row's domain is not too full."""
        result: list[tuple[Mask, Mask]] = []
        masks = self._counted.masks()
        for index, constraint in enumerate(self._constraints):
            column = self._cluster.nodes.label(constraint.key)
            sums = self._sums[index].by_domain(masks[index])
            loads = sums[self._counted.domains()[index]]
            enough = len(loads) >= constraint.min_domains
            least = int(loads.min()) if enough and len(loads) else 0
            domains = column.domains.values[rows]
            most = constraint.max_skew - self._own[index] + least
            result.append((domains >= 0, sums[domains] <= most))
        return result
