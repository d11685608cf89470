"""The search for preemption: when nothing fits, where does evicting the least make room?

Pure: ``find`` returns whom to evict; ``preemptor.py`` does it. Where only resources are short,
``eviction_columns.py`` has the answer; else removals are tried on the live columns and undone.
Upstream's order of preference: fewest broken disruption budgets, lowest highest priority among the
victims, lowest sum of priorities, fewest victims, latest start.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import PlacedPod
from kybern.scheduler.columns.column import Rows
from kybern.scheduler.decision import Decider
from kybern.scheduler.diagnosis import FitError, histogram
from kybern.scheduler.disruption_budgets import DisruptionBudgets
from kybern.scheduler.eviction_columns import (
    NO_VICTIMS,
    Eviction,
    Evictions,
    importance,
    only_lacks_resources,
)
from kybern.scheduler.nominations import NO_ROWS
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.plugins.node_resources_fit import FitFilter
from kybern.scheduler.pod_class import PodClass

Obj = dict[str, Any]

NOT_HELPFUL = "Preemption is not helpful for scheduling"

# How many classes' evictions are remembered; a storm of preemption has few classes.
REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node and whom to evict there, most important first."""

    node: str
    victims: tuple[PlacedPod, ...]
    broken_budgets: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A candidate, or the message that says why there is none."""

    candidate: Candidate | None
    message: str = ""
    keeps_nomination: bool = False


class PreemptionSearch:
    """Looks for room for pods of one profile."""

    def __init__(self, plugin: DefaultPreemption, decider: Decider) -> None:
        self._plugin = plugin
        self._decider = decider
        self._cluster = decider.cluster
        self._budgets = DisruptionBudgets()
        self._evictions: OrderedDict[PodClass, Evictions] = OrderedDict()

    def find(
        self, pod: Obj, error: FitError, budgets: Sequence[Obj], is_preempting: bool
    ) -> Outcome:
        """``error`` is the attempt that just failed; ``is_preempting``: evictions are under way."""
        if (why := self._not_eligible(pod, error, is_preempting)) is not None:
            return Outcome(None, f"preemption: {why}", keeps_nomination=True)
        rows = self._promising(error, budgets)
        failures: dict[str, int] = {}
        candidate = self._search(pod, rows, failures)
        if candidate is not None:
            return Outcome(candidate)
        return self._not_found(error, rows, failures)

    def find_all(
        self, pod: Obj, error: FitError, budgets: Sequence[Obj], is_preempting: bool
    ) -> tuple[list[Candidate], Outcome]:
        """All candidates that ``find`` would choose from, for others to choose; if there are none,
        the outcome says why."""
        if (why := self._not_eligible(pod, error, is_preempting)) is not None:
            return [], Outcome(None, f"preemption: {why}", keeps_nomination=True)
        rows = self._promising(error, budgets)
        failures: dict[str, int] = {}
        wanted, order = self._order(rows) if len(rows) else (0, rows)
        pod_class = self._decider.pod_class(pod)
        names = self._cluster.nodes.names
        found = [
            Candidate(names[row], eviction.victims, eviction.broken_budgets)
            for row, eviction in self._candidates(pod, pod_class, order, wanted, failures)
        ]
        return found, self._not_found(error, rows, failures)

    def _promising(self, error: FitError, budgets: Sequence[Obj]) -> Rows:
        """The rows where evictions might help."""
        if self._budgets.objects != list(budgets):
            self._budgets = DisruptionBudgets(budgets)
        parts = [verdict.rows for verdict in error.verdicts if not verdict.unresolvable]
        return parts[0] if len(parts) == 1 else np.sort(np.concatenate((NO_ROWS, *parts)))

    def _not_found(self, error: FitError, rows: Rows, failures: dict[str, int]) -> Outcome:
        if absent := error.node_count - len(rows):
            failures[NOT_HELPFUL] = failures.get(NOT_HELPFUL, 0) + absent
        return Outcome(None, f"preemption: {histogram(error.node_count, failures)}")

    def _order(self, rows: Rows) -> tuple[int, Rows]:
        """How many candidates are enough, and the rows from a random one on."""
        wanted = self._plugin.candidates_wanted(len(rows))
        offset = self._decider.draw_offset(len(rows))
        return wanted, np.concatenate((rows[offset:], rows[:offset]))

    def _not_eligible(self, pod: Obj, error: FitError, is_preempting: bool) -> str | None:
        if pod["spec"].get("preemptionPolicy") == "Never":
            return "not eligible due to preemptionPolicy=Never."
        terminating = "not eligible due to a terminating pod on the nominated node."
        if is_preempting:
            return terminating
        nominated = (pod.get("status") or {}).get("nominatedNodeName")
        row = self._cluster.nodes.rows.get(nominated) if nominated else None
        if row is None or any(v.unresolvable and row in v.rows for v in error.verdicts):
            return None
        priority = pod["spec"].get("priority") or 0
        there = self._cluster.on_row.get(row, {}).values()
        going = any(p.priority < priority and _is_going(p.obj) for p in there)
        return terminating if going else None

    def _search(self, pod: Obj, rows: Rows, failures: dict[str, int]) -> Candidate | None:
        """Try nodes from a random one on, until enough candidates break no budget."""
        if not len(rows):
            return None
        wanted, order = self._order(rows)
        pod_class = self._decider.pod_class(pod)
        fit = only_lacks_resources(pod_class)
        if fit is None or self._decider.nominations.bring_terms:
            found = self._candidates(pod, pod_class, order, wanted, failures)
            best = _best(found) if found else None
        else:
            evictions = self._evictions_of(pod_class, fit)
            best = evictions.choose(pod, order, wanted)
            if best is None:
                failures.update(evictions.reasons(order))
        if best is None:
            return None
        row, eviction = best
        node = self._cluster.nodes.names[row]
        return Candidate(node, eviction.victims, eviction.broken_budgets)

    def _evictions_of(self, pod_class: PodClass, fit: FitFilter) -> Evictions:
        found = self._evictions.pop(pod_class, None)
        if found is None:
            nominations = self._decider.nominations
            found = Evictions(self._cluster, nominations, pod_class.shape.priority, fit)
        self._evictions[pod_class] = found
        if len(self._evictions) > REMEMBERED:
            self._evictions.popitem(last=False)
        found.refresh(self._budgets)
        return found

    def _candidates(
        self, pod: Obj, pod_class: PodClass, order: Rows, wanted: int, failures: dict[str, int]
    ) -> list[tuple[int, Eviction]]:
        """The general way: take pods off the columns and ask the filters, row by row."""
        candidates: list[tuple[int, Eviction]] = []
        clean = 0
        for row in order.tolist():
            found = self._try_row(pod, pod_class, row)
            if isinstance(found, Eviction):
                candidates.append((row, found))
                clean += found.broken_budgets == 0
                if clean and len(candidates) >= wanted:
                    break
            else:
                for reason in found:
                    failures[reason] = failures.get(reason, 0) + 1
        return candidates

    def _try_row(self, pod: Obj, pod_class: PodClass, row: int) -> Eviction | tuple[str, ...]:
        """The least to evict on one node, or the reasons why nothing there helps."""
        priority = pod_class.shape.priority
        there = self._cluster.on_row.get(row, {}).values()
        lower = [placed for placed in there if placed.priority < priority]
        if not lower:
            return (NO_VICTIMS,)
        out = {placed.uid: placed for placed in lower}
        for placed in lower:
            self._cluster.detach(placed)
        try:
            if not self._decider.fits_now(pod, pod_class, row):
                rows = np.array([row], dtype=np.intp)
                error = self._decider.diagnose(pod, pod_class, rows, rows)
                return error.verdicts[0].reasons
            breaking, harmless = self._budgets.split(sorted(lower, key=importance))
            broken = 0
            for placed in (*breaking, *harmless):
                self._cluster.attach(placed)
                del out[placed.uid]
                if not self._decider.fits_now(pod, pod_class, row):
                    self._cluster.detach(placed)
                    out[placed.uid] = placed
                    broken += placed in breaking
            return Eviction(tuple(sorted(out.values(), key=importance)), broken)
        finally:
            for placed in out.values():
                self._cluster.attach(placed)


def best_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """The one to prefer, by upstream's order."""
    evictions = [(i, Eviction(one.victims, one.broken_budgets)) for i, one in enumerate(candidates)]
    return candidates[_best(evictions)[0]]


def _best(candidates: Sequence[tuple[int, Eviction]]) -> tuple[int, Eviction]:
    rank = min(eviction.rank for _, eviction in candidates)
    equal = [one for one in candidates if one[1].rank == rank]
    return max(equal, key=lambda one: one[1].earliest_start)


def _is_going(pod: Obj) -> bool:
    """The pod terminates because a scheduler preempted it."""
    if "deletionTimestamp" not in pod["metadata"]:
        return False
    return any(
        c["type"] == "DisruptionTarget"
        and c["status"] == "True"
        and c.get("reason") == "PreemptionByScheduler"
        for c in (pod.get("status") or {}).get("conditions") or ()
    )
