"""Verdicts: for every pod that was tried, what the scheduler found, kept for people who ask why.

The scheduler writes one explanation an attempt; the newest of each pod stays, of up to ``LIMIT``
pods, and the least recently tried go first. ``Explanation.document`` is the plain form to serve.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from kybern.component.clock import Clock
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.decision import Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.queued_pod import QueuedPod

Obj = dict[str, Any]

LIMIT = 10_000
CLOSEST = 3


@dataclass(frozen=True, slots=True)
class PluginVerdict:
    """On how many nodes one plugin was the first to say no, and its reasons with their numbers."""

    plugin: str
    nodes: int
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class ClosestNode:
    """A node that passed more plugins than others, and what it lacked."""

    node: str
    plugin: str
    reasons: tuple[str, ...]
    may_preempt: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """One attempt. ``feasible`` is -1 where the decision did not need to count them."""

    namespace: str
    name: str
    uid: str
    scheduler: str
    time: str
    attempt: int
    node: str = ""
    evaluated: int = 0
    feasible: int = 0
    message: str = ""
    plugins: tuple[PluginVerdict, ...] = ()
    closest: tuple[ClosestNode, ...] = ()

    def document(self) -> Obj:
        """The explanation in the style of an API object's fields."""
        plugins = [
            {
                "name": one.plugin,
                "nodes": one.nodes,
                "reasons": [
                    {"reason": text, "nodes": count} for text, count in one.reasons.items()
                ],
            }
            for one in self.plugins
        ]
        closest = [
            {
                "node": one.node,
                "plugin": one.plugin,
                "reasons": list(one.reasons),
                "preemptionMayHelp": one.may_preempt,
            }
            for one in self.closest
        ]
        return {
            "pod": {"namespace": self.namespace, "name": self.name, "uid": self.uid},
            "scheduler": self.scheduler,
            "time": self.time,
            "attempt": self.attempt,
            "node": self.node,
            "nodesEvaluated": self.evaluated,
            "nodesFeasible": self.feasible if self.feasible >= 0 else None,
            "message": self.message,
            "plugins": plugins,
            "closestNodes": closest,
        }


class Verdicts:
    """The newest explanation of each pod."""

    def __init__(self, clock: Clock, limit: int = LIMIT) -> None:
        self._clock = clock
        self._limit = limit
        self._by_uid: OrderedDict[str, Explanation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_uid)

    def get(self, uid: str) -> Explanation | None:
        return self._by_uid.get(uid)

    def of_namespace(self, namespace: str) -> list[Explanation]:
        """The explanations of a namespace's pods, the least recent attempt first."""
        return [one for one in self._by_uid.values() if one.namespace == namespace]

    def placed(self, queued: QueuedPod, placement: Placement) -> None:
        """The pod got a node."""
        self._keep(
            queued,
            node=placement.node,
            evaluated=placement.evaluated,
            feasible=placement.feasible,
        )

    def failed(self, queued: QueuedPod, error: FitError, nodes: NodeTable) -> None:
        """No node would do."""
        self._keep(
            queued,
            evaluated=error.node_count,
            message=error.message,
            plugins=_by_plugin(error),
            closest=_closest(error, nodes),
        )

    def _keep(self, queued: QueuedPod, **found: Any) -> None:
        meta = queued.pod["metadata"]
        self._by_uid[queued.uid] = Explanation(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=queued.uid,
            scheduler=queued.scheduler_name,
            time=self._clock.timestamp(),
            attempt=queued.attempts,
            **found,
        )
        self._by_uid.move_to_end(queued.uid)
        if len(self._by_uid) > self._limit:
            self._by_uid.popitem(last=False)


def _by_plugin(error: FitError) -> tuple[PluginVerdict, ...]:
    if error.rejection:
        plugin = error.rejected_by[0]
        return (PluginVerdict(plugin, error.node_count, {error.rejection: error.node_count}),)
    nodes: dict[str, int] = {}
    reasons: dict[str, dict[str, int]] = {}
    for verdict in error.verdicts:
        count = len(verdict.rows)
        nodes[verdict.plugin] = nodes.get(verdict.plugin, 0) + count
        counts = reasons.setdefault(verdict.plugin, {})
        for reason in verdict.reasons:
            counts[reason] = counts.get(reason, 0) + count
    return tuple(PluginVerdict(name, count, reasons[name]) for name, count in nodes.items())


def _closest(error: FitError, nodes: NodeTable) -> tuple[ClosestNode, ...]:
    """Plugins judge in order, so those whom the last one turned down came furthest; of these, the
    ones where preemption might help and that lack the least."""
    if not error.verdicts:
        return ()
    furthest = [one for one in error.verdicts if one.plugin == error.verdicts[-1].plugin]
    best = min(furthest, key=lambda one: (one.unresolvable, len(one.reasons)))
    return tuple(
        ClosestNode(nodes.names[row], best.plugin, best.reasons, not best.unresolvable)
        for row in best.rows[:CLOSEST].tolist()
    )
