"""The search for preemption: when nothing fits, where does evicting the least make room?

Pure: ``find`` tries removals on the live columns, puts everything back, and returns whom to evict;
``preemptor.py`` does it. Upstream's order of preference: fewest broken disruption budgets, lowest
highest priority among the victims, lowest sum of priorities, fewest victims, latest start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kybern.api.selectors import LabelSelector
from kybern.scheduler.columns.cluster import PlacedPod
from kybern.scheduler.decision import Decider
from kybern.scheduler.diagnosis import FitError, histogram
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.pod_class import PodClass

Obj = dict[str, Any]

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
PRIORITY_OFFSET = 2**31
LATER_THAN_ALL = "9999"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node and whom to evict there, most important first."""

    node: str
    victims: tuple[PlacedPod, ...]
    broken_budgets: int

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """Smaller is better; ties go to the latest start, then to the first found."""
        priorities = [victim.priority for victim in self.victims]
        total = sum(priority + PRIORITY_OFFSET for priority in priorities)
        return (self.broken_budgets, priorities[0], total, len(priorities))

    @property
    def earliest_start(self) -> str:
        """When the first of the most important victims started."""
        top = self.victims[0].priority
        return min(start_time(v.obj) for v in self.victims if v.priority == top)


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

    def find(
        self, pod: Obj, error: FitError, budgets: Sequence[Obj], is_preempting: bool
    ) -> Outcome:
        """``error`` is the attempt that just failed; ``is_preempting``: evictions are under way."""
        if (why := self._not_eligible(pod, error, is_preempting)) is not None:
            return Outcome(None, f"preemption: {why}", keeps_nomination=True)
        rows = [int(r) for v in error.verdicts if not v.unresolvable for r in v.rows]
        failures: dict[str, int] = {}
        candidates = self._try_rows(pod, sorted(rows), budgets, failures)
        if candidates:
            return Outcome(_best(candidates))
        if absent := error.node_count - len(rows):
            failures[NOT_HELPFUL] = failures.get(NOT_HELPFUL, 0) + absent
        return Outcome(None, f"preemption: {histogram(error.node_count, failures)}")

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

    def _try_rows(
        self, pod: Obj, rows: list[int], budgets: Sequence[Obj], failures: dict[str, int]
    ) -> list[Candidate]:
        """Try nodes from a random one on, until enough candidates break no budget."""
        if not rows:
            return []
        pod_class = self._decider.pod_class(pod)
        wanted = self._plugin.candidates_wanted(len(rows))
        offset = self._decider.draw_offset(len(rows))
        candidates: list[Candidate] = []
        clean = 0
        for step in range(len(rows)):
            row = rows[(offset + step) % len(rows)]
            found = self._try_row(pod, pod_class, row, budgets)
            if isinstance(found, Candidate):
                candidates.append(found)
                clean += found.broken_budgets == 0
                if clean and len(candidates) >= wanted:
                    break
            else:
                for reason in found:
                    failures[reason] = failures.get(reason, 0) + 1
        return candidates

    def _try_row(
        self, pod: Obj, pod_class: PodClass, row: int, budgets: Sequence[Obj]
    ) -> Candidate | tuple[str, ...]:
        """The least to evict on one node, or the reasons why nothing there helps."""
        priority = pod["spec"].get("priority") or 0
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
                error = self._decider.diagnose(pod, pod_class, rows, [row])
                return error.verdicts[0].reasons
            breaking, harmless = split_by_budgets(sorted(lower, key=importance), budgets)
            broken = 0
            for placed in (*breaking, *harmless):
                self._cluster.attach(placed)
                del out[placed.uid]
                if not self._decider.fits_now(pod, pod_class, row):
                    self._cluster.detach(placed)
                    out[placed.uid] = placed
                    broken += placed in breaking
            victims = tuple(sorted(out.values(), key=importance))
            return Candidate(self._cluster.nodes.names[row], victims, broken)
        finally:
            for placed in out.values():
                self._cluster.attach(placed)


def importance(placed: PlacedPod) -> tuple[int, str]:
    """Sorts the most important first: high priority, then the longest running."""
    return (-placed.priority, start_time(placed.obj))


def start_time(pod: Obj) -> str:
    """RFC 3339 sorts as text; a pod that has not started is the latest."""
    return (pod.get("status") or {}).get("startTime") or LATER_THAN_ALL


def split_by_budgets(
    pods: Sequence[PlacedPod], budgets: Sequence[Obj]
) -> tuple[list[PlacedPod], list[PlacedPod]]:
    """Those whose eviction would break a PodDisruptionBudget, and the others; order is kept."""
    allowed = [(b.get("status") or {}).get("disruptionsAllowed", 0) for b in budgets]
    selectors = [LabelSelector.from_object((b.get("spec") or {}).get("selector")) for b in budgets]
    breaking: list[PlacedPod] = []
    harmless: list[PlacedPod] = []
    for placed in pods:
        meta = placed.obj["metadata"]
        labels = meta.get("labels") or {}
        breaks = False
        for index, budget in enumerate(budgets):
            if not labels or budget["metadata"]["namespace"] != meta["namespace"]:
                continue
            selector = selectors[index]
            if selector.nothing or selector.empty or not selector.matches(labels):
                continue
            if meta["name"] in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue
            allowed[index] -= 1
            breaks = breaks or allowed[index] < 0
        (breaking if breaks else harmless).append(placed)
    return breaking, harmless


def _best(candidates: Sequence[Candidate]) -> Candidate:
    rank = min(candidate.rank for candidate in candidates)
    equal = [candidate for candidate in candidates if candidate.rank == rank]
    return max(equal, key=lambda candidate: candidate.earliest_start)


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
