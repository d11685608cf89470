"""Blame: which filter turned down each row, among those that rest on nodes and their usage.

Pods that fit nowhere are tried again and again, and say each time how many nodes had which reason.
One small number a row says it, and is kept true by the change logs; which rows these are is only
looked up for those who ask, such as a preemption.
"""

from collections.abc import Callable, Sequence

import numpy as np

from kybern.scheduler.columns.column import Rows
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.plugin import Verdict

Reason = tuple[str, tuple[str, ...], bool]

NOBODY = 0


class Blame:
    """``diagnose`` says the verdicts on some live rows; ``order`` is that of the plugins."""

    def __init__(
        self,
        nodes: NodeTable,
        diagnose: Callable[[Rows], Sequence[Verdict]],
        order: Sequence[str],
    ) -> None:
        self._nodes = nodes
        self._diagnose = diagnose
        self._order = order
        self._of_row = np.zeros(0, dtype=np.int32)
        self._counts: list[int] = []
        self._reasons: list[Reason] = []
        self._numbers: dict[Reason, int] = {}
        self._facts = (-1, -1, -1)
        self._position = 0

    def verdicts(self) -> list[Verdict]:
        """The verdicts on all live rows that are turned down, in the order of plugins."""
        self._refresh()
        seen = self._of_row.copy()

        def verdict(number: int) -> Verdict:
            def rows() -> Rows:
                return np.flatnonzero(seen == number)

            return Verdict(*self._reasons[number], rows, self._counts[number])

        numbers = [number for number, count in enumerate(self._counts) if count]
        numbers.sort(key=lambda number: self._order.index(self._reasons[number][0]))
        return [verdict(number) for number in numbers]

    def _refresh(self) -> None:
        nodes = self._nodes
        facts = (nodes.epoch, nodes.facts.end, len(nodes.names))
        changed = nodes.usage.since(self._position) if facts == self._facts else None
        if changed is None:
            self._of_row = np.zeros(len(nodes.names), dtype=np.int32)
            self._reasons = [("", (), True)]
            self._counts = [0]
            self._numbers.clear()
            self._judge(np.flatnonzero(nodes.alive.values))
        elif changed:
            rows = np.array(list(dict.fromkeys(changed)), dtype=np.intp)
            rows = rows[nodes.alive.values[rows] != 0]
            for number in self._of_row[rows].tolist():
                if number != NOBODY:
                    self._counts[number] -= 1
            self._of_row[rows] = NOBODY
            self._judge(rows)
        self._facts, self._position = facts, nodes.usage.end

    def _judge(self, rows: Rows) -> None:
        for verdict in self._diagnose(rows):
            reason = (verdict.plugin, verdict.reasons, verdict.unresolvable)
            number = self._numbers.get(reason)
            if number is None:
                number = self._numbers[reason] = len(self._reasons)
                self._reasons.append(reason)
                self._counts.append(0)
            self._of_row[verdict.rows] = number
            self._counts[number] += verdict.count
