"""One number a row that rests on facts and usage of nodes, kept until these change."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Rows, Values, blocks, cells_of
from kybern.scheduler.columns.node_table import NodeTable

# Up to this many changed rows, one by one in Python beats numpy's overhead.
FEW_CHANGES = 8


class RowCache:
    """``judge`` says the numbers of some rows, and ``judge_one`` that of one; who asks again pays
    for changed rows only."""

    def __init__(
        self,
        nodes: NodeTable,
        judge: Callable[[Rows | slice], Values],
        judge_one: Callable[[int], int],
    ) -> None:
        self._nodes = nodes
        self._judge = judge
        self._judge_one = judge_one
        self._values: Values = np.zeros(0, dtype=np.int64)
        self._epoch = -1
        self._position = (0, 0)

    def over(self, rows: Any) -> Values:
        """The numbers of ``rows`` (an index array or a slice); not to be written."""
        self._refresh()
        return self._values[rows]

    def _refresh(self) -> None:
        nodes = self._nodes
        end = (nodes.facts.end, nodes.usage.end)
        is_whole = self._epoch == nodes.epoch
        if is_whole and self._position == end:
            return
        facts = nodes.facts.since(self._position[0]) if is_whole else None
        usage = nodes.usage.since(self._position[1]) if facts is not None else None
        if facts is None or usage is None:
            self._values = np.zeros(nodes.capacity, dtype=np.int64)
            self._cells = cells_of(self._values)
            for lot in blocks(nodes.capacity):
                self._values[lot] = self._judge(lot)
        elif len(facts) + len(usage) <= FEW_CHANGES:
            for row in facts + usage:
                self._cells[row] = self._judge_one(row)
        else:
            changed = np.array(facts + usage, dtype=np.intp)
            self._values[changed] = self._judge(changed)
        self._epoch, self._position = nodes.epoch, end
