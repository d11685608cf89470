"""One number a row that rests on facts and usage of nodes, kept until these change."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Rows, Values, blocks
from kybern.scheduler.columns.node_table import NodeTable


class RowCache:
    """``judge`` says the numbers of some rows; who asks again pays for changed rows only."""

    def __init__(self, nodes: NodeTable, judge: Callable[[Rows | slice], Values]) -> None:
        self._nodes = nodes
        self._judge = judge
        self._values: Values = np.zeros(0, dtype=np.int64)
        self._epoch = -1
        self._position = (0, 0)

    def over(self, rows: Any) -> Values:
        """The numbers of ``rows`` (an index array or a slice); not to be written."""
        nodes = self._nodes
        is_whole = self._epoch == nodes.epoch
        facts = nodes.facts.since(self._position[0]) if is_whole else None
        usage = nodes.usage.since(self._position[1]) if facts is not None else None
        if facts is None or usage is None:
            self._values = np.zeros(nodes.capacity, dtype=np.int64)
            for lot in blocks(nodes.capacity):
                self._values[lot] = self._judge(lot)
        elif facts or usage:
            changed = np.array(facts + usage, dtype=np.intp)
            self._values[changed] = self._judge(changed)
        self._epoch, self._position = nodes.epoch, (nodes.facts.end, nodes.usage.end)
        return self._values[rows]
