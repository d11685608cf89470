"""Counters summed by topology domain: how many matching pods run in each zone, host, and so on."""

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.columns.column import Mask, Values
from kybern.scheduler.columns.labels import LabelColumn
from kybern.scheduler.columns.match_groups import RowCounter


def domain_sums(
    counter: RowCounter, column: LabelColumn, eligible: Mask | None = None
) -> NDArray[np.int64]:
    """One sum for each domain id, plus a last cell (index -1: no such label) that stays 0."""
    domains = column.domains.values
    wanted = domains >= 0 if eligible is None else eligible & (domains >= 0)
    counts = counter.counts.values
    busy = np.flatnonzero(wanted & (counts != 0))
    sums: Values = np.zeros(len(column.values) + 1, dtype=np.int64)
    np.add.at(sums, domains[busy], counts[busy])
    return sums
