"""PodTopologySpread: spread matching pods over the domains of topology keys.

Hard constraints (DoNotSchedule) filter by skew against the least loaded domain; soft ones
(ScheduleAnyway) score. Pods without constraints of their own get the profile's defaults, which
spread by the selectors of the workloads around them. The files ``spread_filter.py`` and
``spread_score.py`` compute; here constraints are read.
"""

from collections.abc import Sequence
from typing import Any

from kybern.api.node_fit import matches_node
from kybern.api.selectors import LabelSelector
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
from kybern.scheduler.plugins.spread_constraint import Constraint, read_constraints, with_selector
from kybern.scheduler.plugins.spread_filter import SpreadFilter
from kybern.scheduler.plugins.spread_score import SpreadScore
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]

HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"

SYSTEM_DEFAULTS = (
    {"topologyKey": "kubernetes.io/hostname", "maxSkew": 3, "whenUnsatisfiable": SOFT},
    {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 5, "whenUnsatisfiable": SOFT},
)


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        super().__init__(cluster, args)
        self._system_defaulted = args.get("defaultingType", "System") == "System"
        given = SYSTEM_DEFAULTS if self._system_defaulted else args.get("defaultConstraints") or ()
        self._defaults: Sequence[Obj] = given

    def default_selector(self, pod: Obj) -> LabelSelector | None:
        if not self._defaults or pod["spec"].get("topologySpreadConstraints"):
            return None
        selector = self.cluster.workloads.of(pod)
        return None if selector.empty else selector

    def filter(self, shape: PodShape) -> Filter | None:
        constraints = self._constraints(shape, HARD)
        return SpreadFilter(self.cluster, shape, constraints) if constraints else None

    def score(self, shape: PodShape) -> Score | None:
        constraints = self._constraints(shape, SOFT)
        if not constraints:
            return None
        own = bool(shape.spec.get("topologySpreadConstraints"))
        return SpreadScore(
            self.cluster, shape, constraints, needs_all_keys=own or not self._system_defaulted
        )

    def registrations(self) -> Sequence[Registration]:
        pod_actions = Action.ADD | Action.DELETE | Action.UPDATE_POD_LABEL
        pod_actions |= Action.UPDATE_POD_TOLERATION
        node_actions = Action.ADD | Action.DELETE | Action.UPDATE_NODE_LABEL
        node_actions |= Action.UPDATE_NODE_TAINT
        return (
            Registration(ClusterEvent(EventResource.POD, pod_actions), _pod_changed),
            Registration(ClusterEvent(EventResource.NODE, node_actions), _node_changed),
        )

    def _constraints(self, shape: PodShape, action: str) -> list[Constraint]:
        own = shape.spec.get("topologySpreadConstraints")
        if own:
            constraints = read_constraints(own, shape.labels, action)
        elif shape.default_selector is not None:
            defaults = read_constraints(self._defaults, shape.labels, action)
            constraints = [with_selector(c, shape.default_selector) for c in defaults]
        else:
            return []
        self.cluster.watch_labels(constraint.selector for constraint in constraints)
        return constraints


def _pod_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """A pod of the same namespace that a hard constraint counts came, went or changed labels."""
    meta = pod["metadata"]
    changed = [obj for obj in (old, new) if obj is not None]
    if any(obj["metadata"].get("namespace") != meta.get("namespace") for obj in changed):
        return Hint.SKIP
    if new is not None and new["metadata"]["uid"] == meta["uid"]:
        return Hint.QUEUE
    constraints = _hard_constraints(pod)
    if not constraints:
        # The profile's default constraints kept it off; what they count is not known here.
        return Hint.QUEUE
    matched = [
        [c.selector.matches(obj["metadata"].get("labels") or {}) for c in constraints]
        for obj in changed
    ]
    if old is not None and new is not None:
        return queue_if(matched[0] != matched[1])
    return queue_if(any(matched[0]))


def _node_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """A node with all keys came or went, or a node's domains changed."""
    constraints = _hard_constraints(pod)
    has_keys = [
        obj is not None and matches_node(pod["spec"], obj) and _has_keys(obj, constraints)
        for obj in (old, new)
    ]
    if old is not None and new is not None:
        before, after = old["metadata"].get("labels") or {}, new["metadata"].get("labels") or {}
        moved = any(before.get(c.key) != after.get(c.key) for c in constraints)
        retainted = (old.get("spec") or {}).get("taints") != (new.get("spec") or {}).get("taints")
        return queue_if((moved or retainted or has_keys[0] != has_keys[1]) and any(has_keys))
    return queue_if(any(has_keys))


def _has_keys(node: Obj, constraints: Sequence[Constraint]) -> bool:
    labels = node["metadata"].get("labels") or {}
    return all(constraint.key in labels for constraint in constraints)


def _hard_constraints(pod: Obj) -> list[Constraint]:
    own = pod["spec"].get("topologySpreadConstraints") or ()
    return read_constraints(own, pod["metadata"].get("labels") or {}, HARD)
