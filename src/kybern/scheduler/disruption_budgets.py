"""PodDisruptionBudgets as preemption reads them: whose eviction would break one?"""

from collections.abc import Sequence
from typing import Any

from kybern.api.selectors import LabelSelector
from kybern.scheduler.columns.cluster import PlacedPod

Obj = dict[str, Any]


class DisruptionBudgets:
    """The budgets of a cluster at one moment, their selectors parsed once."""

    def __init__(self, budgets: Sequence[Obj] = ()) -> None:
        self.objects = list(budgets)
        self._selectors = [
            LabelSelector.from_object((budget.get("spec") or {}).get("selector"))
            for budget in budgets
        ]

    def split(self, pods: Sequence[PlacedPod]) -> tuple[list[PlacedPod], list[PlacedPod]]:
        """Those whose eviction would break a budget, and the others; order is kept."""
        if not self.objects:
            return [], list(pods)
        allowed = [(b.get("status") or {}).get("disruptionsAllowed", 0) for b in self.objects]
        breaking: list[PlacedPod] = []
        harmless: list[PlacedPod] = []
        for placed in pods:
            spent = self._budgets_of(placed.obj)
            for index in spent:
                allowed[index] -= 1
            breaks = any(allowed[index] < 0 for index in spent)
            (breaking if breaks else harmless).append(placed)
        return breaking, harmless

    def _budgets_of(self, pod: Obj) -> list[int]:
        """The budgets that an eviction of the pod counts against."""
        meta = pod["metadata"]
        labels = meta.get("labels") or {}
        found: list[int] = []
        for index, budget in enumerate(self.objects):
            if not labels or budget["metadata"]["namespace"] != meta["namespace"]:
                continue
            selector = self._selectors[index]
            if selector.nothing or selector.empty or not selector.matches(labels):
                continue
            if meta["name"] not in ((budget.get("status") or {}).get("disruptedPods") or {}):
                found.append(index)
        return found
