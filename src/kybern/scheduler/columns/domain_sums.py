"""Counters summed by topology domain: how many matching pods run in each zone, host, and so on.

Each filter and score keeps its own ``DomainSums`` of a shared counter and follows the counter's
log, one addition a placed pod. A change of node facts (labels move rows) sums up anew.
"""

import numpy as np

from kybern.scheduler.columns.column import Mask, Rows, Values, cells_of
from kybern.scheduler.columns.match_groups import RowCounter
from kybern.scheduler.columns.node_table import NodeTable


class DomainSums:
    """The sums of one counter over one topology key."""

    def __init__(self, nodes: NodeTable, key: str, counter: RowCounter) -> None:
        self.key = key
        self.counter = counter
        self._nodes = nodes
        self._column = nodes.label(key)
        self._sums: Values = np.zeros(1, dtype=np.int64)
        self._cells = cells_of(self._sums)
        self._facts = (-1, -1)
        self._position = -1
        self._eligible: Mask | None = None

    def by_domain(self, eligible: Mask | None = None) -> Values:
        """One sum for each domain id, plus a last cell (index -1: no such label) that stays 0; not
        to be written or kept. Only ``eligible`` rows count; which these are, facts of nodes say."""
        facts = (self._nodes.epoch, self._nodes.facts.end)
        is_same = facts == self._facts and eligible is self._eligible
        added = self.counter.log.since(self._position) if is_same else None
        if added is None:
            self._facts, self._eligible = facts, eligible
            self._sum_up()
        else:
            domains, cells = self._column.domains.cells, self._cells
            for row, weight in added:
                domain = domains[row]
                if domain >= 0 and (eligible is None or eligible[row]):
                    cells[domain] += weight
        self._position = self.counter.log.end
        return self._sums

    def domains(self, rows: Rows | slice) -> Values:
        """The domain id of each row."""
        return self._column.domains.values[rows]

    def over(self, rows: Rows | slice) -> Values:
        """The sum of each row's domain."""
        return self.by_domain()[self.domains(rows)]

    def _sum_up(self) -> None:
        domains, counts = self._column.domains.values, self.counter.counts.values
        wanted = (domains >= 0) & (counts != 0)
        if self._eligible is not None:
            wanted &= self._eligible
        busy = np.flatnonzero(wanted)
        self._sums = np.zeros(len(self._column.values) + 1, dtype=np.int64)
        np.add.at(self._sums, domains[busy], counts[busy])
        self._cells = cells_of(self._sums)
