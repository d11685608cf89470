"""TaintToleration: keep off nodes whose taints the pod does not tolerate, prefer those with few
untolerated PreferNoSchedule taints.

Nodes share a few taint lists, so each list is judged once a pod class and gathered over the rows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from kybern.scheduler.columns.column import Mask, Rows, Values
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.columns.taints import Taint, has_untolerated, is_tolerated, node_taints
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Filter, Plugin, Score, default_normalise
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]
TaintJudge = Callable[[Sequence[Taint]], int]


class TaintToleration(Plugin):
    name = "TaintToleration"

    def filter(self, shape: PodShape) -> Filter | None:
        return TaintFilter(self.cluster.nodes, shape.tolerations)

    def score(self, shape: PodShape) -> Score | None:
        return TaintScore(self.cluster.nodes, shape.tolerations)

    def registrations(self) -> Sequence[Registration]:
        return (
            Registration(
                ClusterEvent(EventResource.NODE, Action.ADD | Action.UPDATE_NODE_TAINT),
                _node_changed,
            ),
            Registration(
                ClusterEvent(EventResource.POD, Action.UPDATE_POD_TOLERATION), _tolerations_changed
            ),
        )


class _JudgedLists:
    """One number for each interned taint list; new lists are judged when they appear."""

    def __init__(self, nodes: NodeTable, judge: TaintJudge) -> None:
        self._nodes = nodes
        self._judge = judge
        self._answers: Values = np.zeros(0, dtype=np.int64)

    def over(self, rows: Any) -> Values:
        lists = self._nodes.taints.lists
        known = len(self._answers)
        if known < len(lists):
            fresh = [self._judge(taints) for taints in lists[known:]]
            self._answers = np.append(self._answers, np.array(fresh, dtype=np.int64))
        return self._answers[self._nodes.taint_set.values[rows]]


class TaintFilter(Filter):
    reason = "node(s) had untolerated taint(s)"

    def __init__(self, nodes: NodeTable, tolerations: Sequence[Obj]) -> None:
        self.key = orjson.dumps(tolerations)
        self._untolerated = _JudgedLists(nodes, lambda t: has_untolerated(t, tolerations))

    def feasible(self, rows: Any) -> Mask:
        return self._untolerated.over(rows) == 0


class TaintScore(Score):
    normalises = True

    def __init__(self, nodes: NodeTable, tolerations: Sequence[Obj]) -> None:
        self.key = orjson.dumps(tolerations)
        soft = [t for t in tolerations if t.get("effect") in (None, "", "PreferNoSchedule")]
        self._disliked = _JudgedLists(nodes, lambda taints: _count_disliked(taints, soft))

    def raw(self, rows: Any) -> Values:
        return self._disliked.over(rows)

    def normalised(self, raw: Values, rows: Rows) -> Values:
        return default_normalise(raw, reverse=True)


def _count_disliked(taints: Sequence[Taint], tolerations: Sequence[Obj]) -> int:
    return sum(
        taint.effect == "PreferNoSchedule" and not is_tolerated(taint, tolerations)
        for taint in taints
    )


def _node_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    tolerations = pod["spec"].get("tolerations") or ()
    was_kept_off = old is None or has_untolerated(node_taints(old), tolerations)
    admits = new is not None and not has_untolerated(node_taints(new), tolerations)
    return queue_if(was_kept_off and admits)


def _tolerations_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    return queue_if(new is not None and new["metadata"]["uid"] == pod["metadata"]["uid"])
