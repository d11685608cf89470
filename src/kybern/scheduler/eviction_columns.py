"""Preemption on columns: where only resources are short, each node is solved once and remembered.

Most pods that fit nowhere lack cpu, memory or a pod slot and nothing else. For their class no
filter has to run again: whom to evict on a node follows from the amounts alone. ``Evictions`` holds
these answers for one class, one row a node, and solves a row again only when its pods or facts
changed. ``preemption_search.py`` asks it, and goes the general way for all other classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import LATER_THAN_ALL, ClusterColumns, PlacedPod
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.disruption_budgets import DisruptionBudgets
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugin import Basis
from kybern.scheduler.plugins.node_resources_fit import FitFilter
from kybern.scheduler.pod_class import PodClass
from kybern.scheduler.requests import requests_of

Obj = dict[str, Any]

NO_VICTIMS = "No preemption victims found for incoming pod"
PRIORITY_OFFSET = 2**31
LATEST = 99991231235959
UNKNOWN, HELPS, IS_HOPELESS = 0, 1, 2

# With enough candidates but none that spares all budgets, rows are looked at in lots of this size.
LOT = 64


@dataclass(frozen=True, slots=True)
class Eviction:
    """Whom to evict on a row, most important first, and how many budgets that breaks."""

    victims: tuple[PlacedPod, ...]
    broken_budgets: int

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """Smaller is better; ties go to the latest start, then to the first found."""
        victims = self.victims
        total = sum(victim.priority + PRIORITY_OFFSET for victim in victims)
        return (self.broken_budgets, victims[0].priority, total, len(victims))

    @property
    def earliest_start(self) -> str:
        """When the first of the most important victims started."""
        return self.victims[0].start


def importance(placed: PlacedPod) -> tuple[int, str]:
    """Sorts the most important first: high priority, then the longest running."""
    return (-placed.priority, placed.start)


def only_lacks_resources(pod_class: PodClass) -> FitFilter | None:
    """The resources filter, if it is the last that matters and all before it look at facts of nodes
    only."""
    filters = [node_filter for _, node_filter in pod_class.filters if not node_filter.is_idle()]
    if not filters or not isinstance(filters[-1], FitFilter):
        return None
    return filters[-1] if all(f.basis is Basis.NODE for f in filters[:-1]) else None


class Evictions:
    """One class's answers, with the pods nominated to a row counted as there."""

    def __init__(
        self, cluster: ClusterColumns, nominations: Nominations, priority: int, fit: FitFilter
    ) -> None:
        self._cluster = cluster
        self._nominations = nominations
        self._priority = priority
        self._fit = fit
        self._budgets = DisruptionBudgets()
        self._epoch = -1
        self._facts_position = 0
        self._usage_position = 0
        self._nominated_position = 0
        self._forget()

    def refresh(self, budgets: DisruptionBudgets) -> None:
        """Forget what changes of nodes, pods, nominations and budgets made doubtful."""
        nodes = self._cluster.nodes
        facts = nodes.facts.since(self._facts_position)
        usage = nodes.usage.since(self._usage_position)
        nominated = self._nominations.changes.since(self._nominated_position)
        is_same = self._epoch == nodes.epoch and self._budgets.objects == budgets.objects
        if facts is None or usage is None or nominated is None or not is_same:
            self._forget()
        elif changed := facts + usage + nominated:
            self._state[np.array(changed, dtype=np.intp)] = UNKNOWN
        self._budgets = budgets
        self._epoch = nodes.epoch
        self._facts_position = nodes.facts.end
        self._usage_position = nodes.usage.end
        self._nominated_position = self._nominations.changes.end

    def choose(self, pod: Obj, order: Rows, wanted: int) -> tuple[int, Eviction] | None:
        """The best of the first ``wanted`` rows in ``order`` that help, or of more rows if none of
        these spares all budgets; None if no row helps (then all were looked at)."""
        # Where the pod itself is nominated, it is no rival of its own.
        own = self._cluster.nodes.rows.get(self._nominations.node_of(pod["metadata"]["uid"]))
        if own is not None:
            self._state[own] = UNKNOWN
        found: list[Rows] = []
        taken, clean, position = 0, False, 0
        while position < len(order) and not (clean and taken >= wanted):
            part = order[position : position + (wanted - taken if taken < wanted else LOT)]
            position += len(part)
            for row in part[self._state[part] == UNKNOWN].tolist():
                self._solve(row, self._nominations.rivals(pod, self._cluster.nodes.names[row]))
            helping = part[self._state[part] == HELPS]
            spares = np.flatnonzero(self._broken[helping] == 0)
            if taken >= wanted and len(spares):
                helping = helping[: spares[0] + 1]
            clean = clean or bool(len(spares))
            taken += len(helping)
            found.append(helping)
        best = self._best(np.concatenate(found)) if taken else None
        if own is not None:
            self._state[own] = UNKNOWN
        return best

    def reasons(self, rows: Rows) -> dict[str, int]:
        """Why ``rows``, of which none helped, do not: how many have which reason."""
        counts: dict[str, int] = {}
        for row in rows.tolist():
            for reason in self._reasons[row]:
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def _forget(self) -> None:
        capacity = self._cluster.nodes.capacity
        self._state: Values = np.zeros(capacity, dtype=np.int64)
        self._broken: Values = np.zeros(capacity, dtype=np.int64)
        self._highest: Values = np.zeros(capacity, dtype=np.int64)
        self._total: Values = np.zeros(capacity, dtype=np.int64)
        self._count: Values = np.zeros(capacity, dtype=np.int64)
        self._start: Values = np.zeros(capacity, dtype=np.int64)
        self._evictions: dict[int, Eviction] = {}
        self._reasons: dict[int, tuple[str, ...]] = {}

    def _best(self, rows: Rows) -> tuple[int, Eviction]:
        for column in (self._broken, self._highest, self._total, self._count):
            if len(rows) > 1:
                price = column[rows]
                rows = rows[price == price.min()]
        row = int(rows[self._start[rows].argmax()])
        return row, self._evictions[row]

    def _solve(self, row: int, rivals: Sequence[Obj]) -> None:
        there = self._cluster.on_row.get(row, {}).values()
        lower = [placed for placed in there if placed.priority < self._priority]
        if not lower:
            self._is_hopeless(row, (NO_VICTIMS,))
            return
        takes = self._fit.takes
        freed = [sum(amounts) for amounts in zip(*[takes(p.requests) for p in lower], strict=True)]
        lacks = [lack - free for lack, free in zip(self._fit.lacks(row), freed, strict=True)]
        if max(lacks) > 0:
            self._is_hopeless(row, self._fit.reasons(lacks))
            return
        for rival in rivals:
            taken = takes(requests_of(rival))
            lacks = [lack + amount for lack, amount in zip(lacks, taken, strict=True)]
        if max(lacks) > 0:
            self._is_hopeless(row, self._fit.reasons(lacks))
            return
        self._helps(row, self._reprieve(lower, lacks))

    def _reprieve(self, lower: list[PlacedPod], lacks: list[int]) -> Eviction:
        """Give pods back, the most important first, as long as the preemptor still fits."""
        breaking, harmless = self._budgets.split(sorted(lower, key=importance))
        victims: list[PlacedPod] = []
        broken = 0
        for index, placed in enumerate((*breaking, *harmless)):
            taken = self._fit.takes(placed.requests)
            left = [lack + amount for lack, amount in zip(lacks, taken, strict=True)]
            if max(left) > 0:
                victims.append(placed)
                broken += index < len(breaking)
            else:
                lacks = left
        if breaking:
            victims.sort(key=importance)
        return Eviction(tuple(victims), broken)

    def _helps(self, row: int, eviction: Eviction) -> None:
        self._state[row] = HELPS
        rank = eviction.rank
        self._broken[row], self._highest[row], self._total[row], self._count[row] = rank
        self._start[row] = _as_number(eviction.earliest_start)
        self._evictions[row] = eviction
        self._reasons.pop(row, None)

    def _is_hopeless(self, row: int, reasons: tuple[str, ...]) -> None:
        self._state[row] = IS_HOPELESS
        self._reasons[row] = reasons
        self._evictions.pop(row, None)


def _as_number(timestamp: str) -> int:
    """RFC 3339 to the second as one number that keeps the order: 20300102030405."""
    if timestamp == LATER_THAN_ALL:
        return LATEST
    return int("".join(filter(str.isdigit, timestamp[:19])))
