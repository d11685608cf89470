"""A topology spread constraint, parsed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kybern.api.node_fit import required_terms
from kybern.api.selectors import LabelSelector, Requirement
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Values
from kybern.scheduler.columns.match_groups import MatchGroup, RowCounter
from kybern.scheduler.columns.taints import has_untolerated
from kybern.scheduler.node_selector import SelectorMask
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Constraint:
    """``key`` is the topology key; the policies say which nodes count."""

    key: str
    max_skew: int
    selector: LabelSelector
    min_domains: int
    honors_affinity: bool
    honors_taints: bool


def read_constraints(
    constraints: Sequence[Obj], labels: Mapping[str, str], action: str
) -> list[Constraint]:
    """Those with ``whenUnsatisfiable`` = ``action``; matchLabelKeys join the selector."""
    return [_read(c, labels) for c in constraints if c["whenUnsatisfiable"] == action]


def with_selector(constraint: Constraint, selector: LabelSelector) -> Constraint:
    return replace(constraint, selector=selector)


def counter_of(cluster: ClusterColumns, namespace: str, selector: LabelSelector) -> RowCounter:
    """Matching pods for each row; terminating pods do not count, an empty selector counts none."""

    def weigh(group: MatchGroup) -> int:
        if selector.empty or group.key.is_terminating or group.key.namespace != namespace:
            return 0
        return int(selector.matches(group.labels))

    return cluster.groups.counter(("spread", namespace, selector), weigh)


class CountedNodes:
    """Which nodes count for each constraint; kept until a node fact changes."""

    def __init__(
        self,
        cluster: ClusterColumns,
        shape: PodShape,
        constraints: Sequence[Constraint],
        needs_all_keys: bool,
    ) -> None:
        self._nodes = cluster.nodes
        self._tolerations = shape.tolerations
        self._constraints = constraints
        self._needs_all_keys = needs_all_keys
        selector = shape.spec.get("nodeSelector") or {}
        self._affinity = SelectorMask(cluster.nodes, selector, required_terms(shape.spec))
        self._seen = (-1, -1)
        self._masks: list[Mask] = []
        self._domains: list[Values] = []

    def masks(self) -> list[Mask]:
        """One mask over all rows for each constraint."""
        self._refresh()
        return self._masks

    def mask(self, index: int) -> Mask:
        """The mask of one constraint."""
        return self.masks()[index]

    def domains(self) -> list[Values]:
        """The ids of the domains that such rows are in, for each constraint."""
        self._refresh()
        return self._domains

    def _refresh(self) -> None:
        now = (self._nodes.epoch, self._nodes.facts.end)
        if now == self._seen:
            return
        self._masks = self._compute()
        self._domains = [
            _labelled(self._nodes.label(constraint.key).domains.values[mask])
            for constraint, mask in zip(self._constraints, self._masks, strict=True)
        ]
        self._seen = now

    def _compute(self) -> list[Mask]:
        nodes = self._nodes
        base = nodes.alive.values != 0
        if self._needs_all_keys:
            for constraint in self._constraints:
                base &= nodes.label(constraint.key).domains.values >= 0
        admitted = self._affinity.over(slice(None))
        untolerated = np.array(
            [has_untolerated(taints, self._tolerations) for taints in nodes.taints.lists]
        )
        tainted = untolerated[nodes.taint_set.values]
        result: list[Mask] = []
        for constraint in self._constraints:
            mask = base.copy()
            if constraint.honors_affinity:
                mask &= admitted
            if constraint.honors_taints:
                mask &= ~tainted
            result.append(mask)
        return result


def _labelled(domains: Values) -> Values:
    return np.unique(domains[domains >= 0])


def _read(constraint: Obj, labels: Mapping[str, str]) -> Constraint:
    selector = LabelSelector.from_object(constraint.get("labelSelector"))
    shared = [
        Requirement(key, "=", (labels[key],))
        for key in constraint.get("matchLabelKeys") or ()
        if key in labels
    ]
    if shared and not selector.nothing:
        selector = LabelSelector((*shared, *selector.requirements))
    min_domains = constraint.get("minDomains")
    return Constraint(
        key=constraint["topologyKey"],
        max_skew=constraint["maxSkew"],
        selector=selector,
        min_domains=1 if min_domains is None else min_domains,
        honors_affinity=(constraint.get("nodeAffinityPolicy") or "Honor") == "Honor",
        honors_taints=constraint.get("nodeTaintsPolicy") == "Honor",
    )
