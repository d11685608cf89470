"""Decisions, preemptions and bindings in which extenders have a say.

The columns may change while an extender thinks. So a decision is taken in turns: the filters of the
columns, the extenders one after the other on what is left, all their priorities at once, and at the
end the columns again, on the nodes that still exist and still fit.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kybern.api.objects import key as object_key
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.events import Action, ClusterEvent, EventResource, Registration
from kybern.scheduler.extenders.errors import ExtenderError
from kybern.scheduler.extenders.settings import ExtenderSettings
from kybern.scheduler.plugin import MAX_SCORE, Verdict
from kybern.scheduler.preemption_search import Candidate, best_candidate

if TYPE_CHECKING:
    from kybern.scheduler.extenders.http_extender import HttpExtender

Obj = dict[str, Any]

logger = logging.getLogger(__name__)

# The name under which the queue and people see what extenders turned down.
PLUGIN = "Extender"
# Extenders say nothing about what could help, so anything may.
REGISTRATIONS = (Registration(ClusterEvent(EventResource.WILDCARD, Action.ALL)),)
MAX_EXTENDER_SCORE = 10
# Extenders are asked about at least so many nodes, and such a part of a large cluster.
FEWEST_NODES = 100
SMALLEST_PERCENTAGE = 5


def registrations_of(
    settings: Sequence[ExtenderSettings],
) -> dict[str, tuple[Registration, ...]]:
    """What the queue is to know of extenders, if there are any."""
    return {PLUGIN: REGISTRATIONS} if settings else {}


class Extenders:
    """All extenders of a scheduler."""

    def __init__(self, settings: Sequence[ExtenderSettings]) -> None:
        # A scheduler without extenders loads no HTTP library.
        from kybern.scheduler.extenders.http_extender import HttpExtender

        self._all = [HttpExtender(one) for one in settings]

    def are_asked_about(self, pod: Obj) -> bool:
        """Whether any of them has a say in where the pod goes."""
        return any(one.settings.decides and one.is_interested(pod) for one in self._all)

    def preempt_for(self, pod: Obj) -> bool:
        """Whether any of them has a say in whom to evict for the pod."""
        return any(one.settings.preempt_verb and one.is_interested(pod) for one in self._all)

    async def decide(self, decider: Decider, pod: Obj) -> Placement | FitError:
        """Like the decider's, with the extenders; raises ExtenderError."""
        outcome = decider.decide(pod)
        if isinstance(outcome, FitError):
            return outcome
        nominated = (pod.get("status") or {}).get("nominatedNodeName")
        if nominated == outcome.node:
            rows = np.array([outcome.row], dtype=np.intp)
            left, _ = await self._filter(decider, pod, rows)
            if left and (placement := await self._choose(decider, pod, left)):
                return placement
        rows = decider.feasible_rows(pod, decider.pod_class(pod))
        verdicts: list[Verdict] = []
        for some in _portions(decider, rows):
            left, turned_down = await self._filter(decider, pod, some)
            verdicts += turned_down
            if left and (placement := await self._choose(decider, pod, left)):
                return placement
        live = np.flatnonzero(decider.cluster.nodes.alive.values)
        others = np.setdiff1d(live, rows)
        contested = decider.nominations.contested_rows(pod, decider.cluster.nodes)
        error = decider.diagnose(pod, decider.pod_class(pod), others, contested)
        error.verdicts = [*error.verdicts, *verdicts]
        error.rejected_by = (PLUGIN,)
        return error

    async def choose_victims(self, pod: Obj, candidates: Sequence[Candidate]) -> Candidate | None:
        """The best of what the extenders leave of the candidates; raises ExtenderError."""
        left = {one.node: one for one in candidates}
        for extender in self._all:
            if not left or not extender.settings.preempt_verb or not extender.is_interested(pod):
                continue
            asked = {
                node: ([victim.obj for victim in one.victims], one.broken_budgets)
                for node, one in left.items()
            }
            try:
                answer = await extender.preempt(pod, asked)
                left = {
                    node: _with_victims(extender, left, node, given.uids, given.broken_budgets)
                    for node, given in answer.items()
                    if given.uids or not extender.settings.ignorable
                }
            except ExtenderError as error:
                _ignore_or_raise(extender, error)
        return best_candidate(list(left.values())) if left else None

    async def bind(self, pod: Obj, node: str) -> bool:
        """Whether an extender has bound the pod; raises ExtenderError."""
        for extender in self._all:
            if extender.settings.bind_verb and extender.is_interested(pod):
                try:
                    await extender.bind(pod, node)
                    return True
                except ExtenderError as error:
                    _ignore_or_raise(extender, error)
        return False

    async def close(self) -> None:
        for extender in self._all:
            await extender.close()

    async def _filter(
        self, decider: Decider, pod: Obj, rows: Rows
    ) -> tuple[list[Obj], list[Verdict]]:
        """The nodes that all extenders let pass, and the verdicts on the others."""
        objects = (decider.cluster.nodes.objects[row] for row in rows.tolist())
        nodes = [node for node in objects if node is not None]
        messages: dict[str, tuple[str, bool]] = {}
        for extender in self._all:
            if not nodes or not extender.settings.filter_verb or not extender.is_interested(pod):
                continue
            try:
                answer = await extender.filter(pod, nodes)
            except ExtenderError as error:
                _ignore_or_raise(extender, error)
                continue
            passed = set(answer.nodes)
            for node in nodes:
                name = node["metadata"]["name"]
                if name not in passed:
                    hopeless = name in answer.hopeless or name not in answer.failed
                    text = answer.hopeless.get(name) or answer.failed.get(name, "")
                    messages[name] = (text, hopeless)
            nodes = [node for node in nodes if node["metadata"]["name"] in passed]
        return nodes, _verdicts(decider, messages)

    async def _choose(self, decider: Decider, pod: Obj, nodes: list[Obj]) -> Placement | None:
        """The best of the nodes; None if none of them fits any more."""
        extra: dict[str, int] = {}
        if len(nodes) > 1:
            extra = await self._prioritize(pod, nodes)
        names = decider.cluster.nodes.rows
        known = [names[n["metadata"]["name"]] for n in nodes if n["metadata"]["name"] in names]
        pod_class = decider.pod_class(pod)
        rows = np.intersect1d(np.array(known, dtype=np.intp), decider.feasible_rows(pod, pod_class))
        if not len(rows):
            return None
        shown = decider.cluster.nodes.names
        scores: Values = np.array([extra.get(shown[row], 0) for row in rows], dtype=np.int64)
        return decider.best_of(pod_class, rows, scores)

    async def _prioritize(self, pod: Obj, nodes: list[Obj]) -> dict[str, int]:
        """The weighted scores of all extenders together; one that fails has no say."""
        asked = [
            one for one in self._all if one.settings.prioritize_verb and one.is_interested(pod)
        ]
        answers = await asyncio.gather(
            *(one.prioritize(pod, nodes) for one in asked), return_exceptions=True
        )
        total: dict[str, int] = {}
        for extender, answer in zip(asked, answers, strict=True):
            if isinstance(answer, ExtenderError):
                logger.info(
                    "no priorities of %s from %s: %s", object_key(pod), extender.name, answer
                )
                continue
            if isinstance(answer, BaseException):
                raise answer
            for node, score in answer.items():
                weighted = score * extender.settings.weight * (MAX_SCORE // MAX_EXTENDER_SCORE)
                total[node] = total.get(node, 0) + weighted
        return total


def nodes_at_once(percentage: int, count: int) -> int:
    """How many feasible nodes of ``count`` extenders are asked about at a time: as many as upstream
    would have looked for. Without a percentage the larger the cluster the smaller the part."""
    if count < FEWEST_NODES:
        return count
    percentage = percentage or max(50 - count // 125, SMALLEST_PERCENTAGE)
    return max(FEWEST_NODES, count * percentage // 100)


def _portions(decider: Decider, rows: Rows) -> Iterator[Rows]:
    """Feasible rows for one question after the other, from a random one on. Upstream would stop
    after the first; a pod that has room somewhere shall get it."""
    most = nodes_at_once(decider.profile.percentage, decider.cluster.nodes.node_count)
    if len(rows) > most:
        offset = decider.draw_offset(len(rows))
        rows = np.concatenate((rows[offset:], rows[:offset]))
    for start in range(0, len(rows), max(most, 1)):
        yield np.sort(rows[start : start + most])


def _verdicts(decider: Decider, messages: Mapping[str, tuple[str, bool]]) -> list[Verdict]:
    """Nodes with the same message share a verdict."""
    rows: dict[tuple[str, bool], list[int]] = {}
    for name, said in messages.items():
        row = decider.cluster.nodes.rows.get(name)
        if row is not None:
            rows.setdefault(said, []).append(row)
    return [
        Verdict(PLUGIN, (text,) if text else (), hopeless, np.array(found, dtype=np.intp))
        for (text, hopeless), found in rows.items()
    ]


def _with_victims(
    extender: "HttpExtender",
    known: Mapping[str, Candidate],
    node: str,
    uids: Sequence[str],
    broken: int,
) -> Candidate:
    """A candidate with the victims that an extender leaves of it."""
    if not uids:
        raise ExtenderError(f'expected at least one victim pod on node "{node}"')
    candidate = known.get(node)
    if candidate is None:
        raise ExtenderError(f'extender "{extender.name}" names a node "{node}" that was not asked')
    victims = tuple(victim for victim in candidate.victims if victim.uid in uids)
    if len(victims) != len(uids):
        raise ExtenderError(
            f"extender: {extender.name} claims to preempt a pod on node: {node}, but the pod is "
            "not found on that node"
        )
    return Candidate(node, victims, broken)


def _ignore_or_raise(extender: "HttpExtender", error: ExtenderError) -> None:
    if not extender.settings.ignorable:
        raise error
    logger.info("ignoring extender %s: %s", extender.name, error)
