"""One pod's explanation, written from what the scheduler knows this moment.

``Explainer.explain`` gives the ``status`` of a PodExplanation. For a pod that waits the decision is
taken again on the live columns, without consequences; for a pod with a node the scores of its
decision are shown, or those of now where they were not kept.
"""

from collections.abc import Mapping
from typing import Any

from kybern.component.clock import Clock, rfc3339
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import DEFAULT_SCHEDULER
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.explain.advice import advise
from kybern.scheduler.explain.candidates import Ranking, rank
from kybern.scheduler.explain.rejections import closest, rejections
from kybern.scheduler.explain.verdicts import Verdict, Verdicts
from kybern.scheduler.extenders.asking import PLUGIN as EXTENDERS
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.queue import SchedulingQueue

Obj = dict[str, Any]


class Explainer:
    """Explains the pods of one scheduler; ``assumed`` are those whose binding is under way."""

    def __init__(
        self,
        clock: Clock,
        cluster: ClusterColumns,
        deciders: Mapping[str, Decider],
        queue: SchedulingQueue,
        nominations: Nominations,
        assumed: Mapping[str, str],
        verdicts: Verdicts,
    ) -> None:
        self._clock = clock
        self._cluster = cluster
        self._deciders = deciders
        self._queue = queue
        self._nominations = nominations
        self._assumed = assumed
        self._verdicts = verdicts

    def explain(self, pod: Obj) -> Obj | None:
        """The explanation of a live pod; None if another scheduler decides about it."""
        name = pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER
        decider = self._deciders.get(name)
        if decider is None:
            return None
        uid = pod["metadata"]["uid"]
        verdict = self._verdicts.get(uid)
        status: Obj = {"podUID": uid, "scheduler": name, "time": self._clock.timestamp()}
        if verdict is not None:
            status["attempts"] = verdict.attempts
        node = pod["spec"].get("nodeName") or self._assumed.get(uid)
        if node:
            return status | self._placed(pod, node, decider, verdict)
        return status | self._pending(pod, decider, verdict)

    def _placed(self, pod: Obj, node: str, decider: Decider, verdict: Verdict | None) -> Obj:
        bound = bool(pod["spec"].get("nodeName"))
        status: Obj = {"state": "Scheduled" if bound else "Binding", "node": node}
        remembered = verdict is not None and verdict.node == node
        if verdict is not None and remembered:
            status["time"] = rfc3339(verdict.placed_at)
            if verdict.failure:
                when = rfc3339(verdict.failed_at)
                status["lastFailure"] = {"time": when, "message": verdict.failure}
        ranking = verdict.ranking if verdict is not None and remembered else None
        if ranking is None:
            ranking = self._rank_anew(pod, node, decider)
            status["recomputed"] = True
        if ranking is None:
            status["summary"] = f"{node} is no node that the scheduler knows"
            return status
        status["nodesTotal"], status["nodesFeasible"] = ranking.nodes, ranking.feasible
        status["candidates"] = [one.document() for one in ranking.candidates]
        nominated = verdict is not None and remembered and verdict.nominated
        status["summary"] = _why_chosen(ranking, nominated, "recomputed" in status)
        return status

    def _rank_anew(self, pod: Obj, node: str, decider: Decider) -> Ranking | None:
        """The ranking as if the pod were not there and to be placed now."""
        row = self._cluster.nodes.rows.get(node)
        if row is None:
            return None
        unbound = {**pod, "spec": {k: v for k, v in pod["spec"].items() if k != "nodeName"}}
        placed = self._cluster.pods.get(pod["metadata"]["uid"])
        if placed is None:
            return rank(decider, unbound, row)
        # A class that is made while the pod is away could count it twice.
        decider.pod_class(unbound)
        self._cluster.detach(placed)
        try:
            return rank(decider, unbound, row)
        finally:
            self._cluster.attach(placed)

    def _pending(self, pod: Obj, decider: Decider, verdict: Verdict | None) -> Obj:
        if "deletionTimestamp" in pod["metadata"]:
            return {"state": "Terminating", "summary": "the pod is being deleted"}
        gated = decider.profile.gate(pod)
        if gated is not None:
            return {"state": "Gated", "summary": gated[1], "advice": _lift_gates(pod)}
        status: Obj = {}
        # What another scheduler process found stands in the pod's condition.
        last = verdict.failure if verdict is not None else _condition_message(pod)
        if last:
            status["message"] = last
        outcome = decider.decide(pod)
        if isinstance(outcome, Placement):
            return status | self._waits_for_its_turn(pod, outcome)
        return status | self._turned_down(pod, outcome, decider)

    def _waits_for_its_turn(self, pod: Obj, placement: Placement) -> Obj:
        text = f"{placement.node} could take it now"
        queued = self._queue.get(pod["metadata"]["uid"])
        if queued is not None and EXTENDERS in queued.rejected_by:
            summary = "extenders turned down the nodes that could take it"
            advice = ["Ask those who run the extenders; the event has what they answered."]
            return {"state": "Unschedulable", "summary": summary, "advice": advice}
        wait = queued.backoff_until - self._clock.monotonic() if queued is not None else 0.0
        if wait > 0:
            text += f"; it is tried again within {wait:.0f}s"
        else:
            text += "; it is tried in a moment"
        return {"state": "Queued", "summary": text}

    def _turned_down(self, pod: Obj, error: FitError, decider: Decider) -> Obj:
        status: Obj = {"state": "Unschedulable"} | turned_down(pod, error, decider)
        if nominated := self._nominations.node_of(pod["metadata"]["uid"]):
            status["state"], status["nominatedNode"] = "Preempting", nominated
            status["advice"] = [f"Wait: pods on {nominated} are being evicted to make room."]
        return status


def turned_down(pod: Obj, error: FitError, decider: Decider) -> Obj:
    """Why no node would do, as the columns are: by plugin, the closest nodes, what would help."""
    status: Obj = {"nodesTotal": error.node_count, "nodesFeasible": 0}
    if error.node_count == 0:
        return status | {"summary": error.message, "advice": ["Add a node: there is none."]}
    cluster, pod_class = decider.cluster, decider.pod_class(pod)
    near = closest(error, pod_class, cluster.nodes)
    advice = advise(pod, error, cluster, near)
    if kept := _kept_for_others(pod, decider):
        text = f"{kept[0]} has room, but it is kept for pods that were nominated to it"
        advice.insert(0, f"{text}: wait, or give this pod a higher priority.")
    return status | {
        "summary": _why_turned_down(error, near),
        "rejections": rejections(error, cluster.nodes),
        "closest": near,
        "advice": advice,
    }


def _kept_for_others(pod: Obj, decider: Decider) -> list[str]:
    """Nodes that could take the pod but for the pods nominated to them."""
    pod_class = decider.pod_class(pod)
    if any(confinement.rejection for _, confinement in pod_class.confinements):
        return []
    nodes = decider.cluster.nodes
    contested = decider.nominations.contested_rows(pod, nodes)
    return [nodes.names[row] for row in contested.tolist() if pod_class.fits(row)]


def _why_turned_down(error: FitError, near: list[Obj]) -> str:
    if error.rejection:
        return error.rejection
    if near and near[0].get("lacks"):
        what = " and ".join(f"{one['lacking']} {one['resource']}" for one in near[0]["lacks"])
        return f"no node of {error.node_count} fits; {near[0]['node']} lacks {what}"
    reason = near[0]["reasons"][0] if near else "the pod may only run on nodes that are not there"
    return f"no node of {error.node_count} fits: {reason}"


def _why_chosen(ranking: Ranking, nominated: bool, recomputed: bool) -> str:
    first, *others = ranking.candidates
    if nominated:
        return f"{first.node} was nominated for it, so it was tried there first"
    if ranking.feasible <= 1:
        when = "is now" if recomputed else "was"
        return f"{first.node} {when} the only node that could take it"
    best = others[0]
    if recomputed or best.total > first.total:
        return f"{first.node} scores {first.total} now, {best.node} {best.total}"
    if ranking.equal > 1:
        return f"{first.node} was drawn from {ranking.equal} nodes that scored {first.total}"
    return f"{first.node} scored {first.total}, next came {best.node} with {best.total}"


def _lift_gates(pod: Obj) -> list[str]:
    names = [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
    return [f"Whoever set the gate {name} has to take it off the pod." for name in names]


def _condition_message(pod: Obj) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message: str = condition.get("message", "")
            return message
    return ""
