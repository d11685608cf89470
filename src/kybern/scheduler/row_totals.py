"""Row totals: for each node row, whether pods may run there and the sum of the plain scores.

All classes of pods that ask the same of nodes and of their room share one ``RowTotals``, kept by
``decision.Decider`` for as long as a class uses it: pods that differ in their neighbours, or in
claims that admit the same nodes, do not. It reads the node table's change logs: few changed rows
are judged one by one, more of them together, very many with all rows. What rests on nodes alone is
shared even wider (``node_facts.py``).
"""

from collections.abc import Sequence

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values, blocks, cells_of
from kybern.scheduler.node_facts import NodeFacts, WeightedScore
from kybern.scheduler.plugin import Filter

INFEASIBLE = -(1 << 40)

# Up to this many changed rows, one by one in Python beats numpy's overhead.
FEW_CHANGES = 15
# Beyond this share of all rows, judging all of them beats gathering the changed ones.
CHANGES_SHARE = 2


class RowTotals:
    """``values`` has one total for each row, ``INFEASIBLE`` where a filter turns it down."""

    def __init__(
        self,
        cluster: ClusterColumns,
        facts: NodeFacts,
        filters: Sequence[Filter],
        scores: Sequence[WeightedScore],
    ) -> None:
        self.facts = facts
        self.values: Values = np.zeros(0, dtype=np.int64)
        self.cells = cells_of(self.values)
        self._nodes = cluster.nodes
        self._filters = filters
        self._scores = scores
        self._epoch = -1
        self._facts_position = -1
        self._usage_position = -1

    def refresh(self) -> None:
        """Bring the totals up to date with the node table."""
        nodes = self._nodes
        if self._epoch == nodes.epoch and len(self.values) == len(nodes.names):
            is_same = self._facts_position == nodes.facts.end
            if is_same and self._usage_position == nodes.usage.end:
                return
        self.facts.refresh()
        changed = self._changed()
        if changed is None:
            self.values = np.empty(len(nodes.names), dtype=np.int64)
            self.cells = cells_of(self.values)
            for rows in blocks(len(self.values)):
                self._judge(rows)
        elif len(changed) > FEW_CHANGES:
            self._judge(np.array(changed, dtype=np.intp))
        else:
            for row in changed:
                self._judge_one(row)
        self._epoch = nodes.epoch
        self._facts_position = nodes.facts.end
        self._usage_position = nodes.usage.end

    def _changed(self) -> list[int] | None:
        """Rows to judge again, repeats included; None if that is all of them."""
        nodes = self._nodes
        if self._epoch != nodes.epoch or len(self.values) != len(nodes.names):
            return None
        facts = nodes.facts.since(self._facts_position)
        usage = nodes.usage.since(self._usage_position)
        if facts is None or usage is None:
            return None
        changed = facts + usage if facts else usage
        is_many = len(changed) > FEW_CHANGES + len(nodes.names) // CHANGES_SHARE
        return None if is_many else changed

    def _judge(self, rows: Rows | slice) -> None:
        """Many rows at once; repeated rows do no harm."""
        ok = self.facts.ok[rows]
        for node_filter in self._filters:
            ok = ok & node_filter.feasible(rows)
        total = self.facts.total[rows].copy()
        for weighted in self._scores:
            score = weighted.score.raw(rows)
            total += score if weighted.weight == 1 else weighted.weight * score
        np.copyto(total, INFEASIBLE, where=~ok)
        self.values[rows] = total

    def _judge_one(self, row: int) -> None:
        if not self.facts.ok[row]:
            self.cells[row] = INFEASIBLE
            return
        for node_filter in self._filters:
            if not node_filter.fits(row):
                self.cells[row] = INFEASIBLE
                return
        total = int(self.facts.total[row])
        for weighted in self._scores:
            total += weighted.weight * weighted.score.raw_one(row)
        self.cells[row] = total
