"""NodeAffinity: nodeSelector and required node affinity admit nodes, preferred affinity ranks them.

The profile's ``addedAffinity`` applies on top of every pod's own. Terms that name nodes through
``metadata.name`` (DaemonSet pods) confine the pod before any other node is looked at.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from kybern.api.node_fit import matches_node, preferred_terms, required_terms, term_matches
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows, Values
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.node_selector import SelectorMask, named_nodes, term_mask
from kybern.scheduler.plugin import (
    Confinement,
    Filter,
    Plugin,
    Score,
    Verdict,
    default_normalise,
)
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]

ENFORCED_REASON = "node(s) didn't match scheduler-enforced node affinity"


class NodeAffinity(Plugin):
    name = "NodeAffinity"

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        super().__init__(cluster, args)
        added = {"affinity": {"nodeAffinity": args.get("addedAffinity") or {}}}
        self._added_required = required_terms(added)
        self._added_preferred = preferred_terms(added)

    def confine(self, shape: PodShape) -> Confinement | None:
        terms = required_terms(shape.spec)
        names = named_nodes(terms) if terms else None
        if names is None:
            return None
        if not names:
            return Confinement(rejection="pod affinity terms conflict")
        return Confinement(nodes=tuple(names))

    def filter(self, shape: PodShape) -> Filter | None:
        selector, terms = shape.spec.get("nodeSelector"), required_terms(shape.spec)
        if selector is None and terms is None and self._added_required is None:
            return None
        nodes = self.cluster.nodes
        enforced = SelectorMask(nodes, {}, self._added_required)
        key = orjson.dumps((selector, terms))
        return AffinityFilter(SelectorMask(nodes, selector or {}, terms), enforced, key)

    def score(self, shape: PodShape) -> Score | None:
        terms = [*self._added_preferred, *preferred_terms(shape.spec)]
        return AffinityScore(self.cluster.nodes, terms) if terms else None

    def registrations(self) -> Sequence[Registration]:
        actions = Action.ADD | Action.UPDATE_NODE_LABEL
        return (Registration(ClusterEvent(EventResource.NODE, actions), self._node_changed),)

    def _node_changed(self, pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
        if new is None:
            return Hint.SKIP
        enforced = self._added_required
        if enforced is not None and not any(term_matches(term, new) for term in enforced):
            return Hint.SKIP
        if not matches_node(pod["spec"], new):
            return Hint.SKIP
        return queue_if(old is None or not matches_node(pod["spec"], old))


class AffinityFilter(Filter):
    reason = "node(s) didn't match Pod's node affinity/selector"

    def __init__(self, own: SelectorMask, enforced: SelectorMask, key: bytes) -> None:
        self.key = key
        self._own = own
        self._enforced = enforced

    def feasible(self, rows: Any) -> Mask:
        return self._own.over(rows) & self._enforced.over(rows)

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        enforced = self._enforced.over(rows)
        split = ((rows[~enforced], ENFORCED_REASON), (rows[enforced], self.reason))
        return [Verdict(plugin, (why,), True, part) for part, why in split if len(part)]


class AffinityScore(Score):
    normalises = True

    def __init__(self, nodes: NodeTable, terms: Sequence[Obj]) -> None:
        self.key = orjson.dumps(terms)
        self._nodes = nodes
        self._terms = [(term["weight"], term["preference"]) for term in terms if term["weight"]]

    def raw(self, rows: Any) -> Values:
        total: Values = np.zeros(self._nodes.count(rows), dtype=np.int64)
        for weight, preference in self._terms:
            total += weight * term_mask(self._nodes, preference, rows)
        return total

    def normalised(self, raw: Values, rows: Rows) -> Values:
        return default_normalise(raw, reverse=False)
