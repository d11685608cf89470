"""Traits: by what a filter or a score of the whole cluster tells rows apart.

Most filters and scores that look at pods anywhere say the same about thousands of rows: all rows of
a zone, all rows whose host has no matching pod yet. A trait is one number a row, such that rows
that are equal in all traits get equal answers; ``lookalikes.py`` asks for one answer a kind of row.
A trait follows from facts of nodes and from the pods on that row alone: what happens on another row
changes no trait, though it may change the answer that goes with it.
"""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Mask, Values, cells_of
from kybern.scheduler.columns.domain_sums import DomainSums
from kybern.scheduler.columns.labels import LabelColumn
from kybern.scheduler.columns.match_groups import RowCounter
from kybern.scheduler.columns.node_table import NodeTable

Reader = Callable[[int], int]


class Trait:
    """Base of all traits; ``key`` is equal for traits that are equal on every row."""

    key: Hashable
    is_telling = True

    def facts_changed(self) -> None:
        """Facts of nodes are not what they were: look at them again. Sets ``is_telling`` if no two
        rows could differ."""

    def over(self, rows: Any) -> Values:
        """One number for each row of an index array or a slice."""
        raise NotImplementedError

    def reader(self) -> Reader:
        """As ``over`` for single rows, good until the columns change."""
        raise NotImplementedError


class DomainTrait(Trait):
    """The row's domain; where a row has its domain to itself, as with hosts, the domain's sum.

    ``is_sign`` says that only whether the sum is positive matters.
    """

    def __init__(
        self,
        nodes: NodeTable,
        sums: DomainSums,
        eligible: Callable[[], Mask] | None = None,
        is_sign: bool = False,
    ) -> None:
        self._column: LabelColumn = nodes.label(sums.key)
        self._sums = sums
        self._eligible = eligible
        self._is_sign = is_sign
        self.facts_changed()

    def facts_changed(self) -> None:
        domains = self._column.domains.values
        sizes = np.bincount(domains[domains >= 0], minlength=1)
        self._is_alone = (domains >= 0) & (sizes[domains] == 1)
        self.key: Hashable = self if self._is_alone.any() else self._column

    def over(self, rows: Any) -> Values:
        domains = self._column.domains.values[rows]
        sums = self._by_domain()[domains]
        if self._is_sign:
            sums = sums > 0
        # Even numbers are sums, odd ones domains.
        return np.where(self._is_alone[rows], 2 * sums, 2 * domains + 1)

    def reader(self) -> Reader:
        sums, domains = cells_of(self._by_domain()), self._column.domains.cells
        is_alone, is_sign = memoryview(self._is_alone), self._is_sign  # type: ignore[arg-type]

        def read(row: int) -> int:
            domain = domains[row]
            if not is_alone[row]:
                return 2 * domain + 1
            return 2 * (sums[domain] > 0 if is_sign else sums[domain])

        return read

    def _by_domain(self) -> Values:
        return self._sums.by_domain(self._eligible() if self._eligible is not None else None)


class LabelTrait(Trait):
    """The row's domain."""

    def __init__(self, column: LabelColumn) -> None:
        self.key = column
        self._domains = column.domains

    def over(self, rows: Any) -> Values:
        return self._domains.values[rows]

    def reader(self) -> Reader:
        return self._domains.cells.__getitem__


class CountTrait(Trait):
    """How many pods the row itself has of those that are counted; -1 where it lacks the label."""

    def __init__(self, column: LabelColumn, counter: RowCounter) -> None:
        self.key = (column, counter)
        self._domains, self._counts = column.domains, counter.counts

    def over(self, rows: Any) -> Values:
        return np.where(self._domains.values[rows] >= 0, self._counts.values[rows], -1)

    def reader(self) -> Reader:
        domains, counts = self._domains.cells, self._counts.cells
        return lambda row: counts[row] if domains[row] >= 0 else -1


class JudgedTrait(Trait):
    """The numbers that ``judge`` gives, which rests on the row alone."""

    def __init__(self, key: Hashable, judge: Callable[[Any], Values]) -> None:
        self.key = key
        self._judge = judge

    def over(self, rows: Any) -> Values:
        return self._judge(rows)

    def reader(self) -> Reader:
        return lambda row: int(self._judge(np.array([row], dtype=np.intp))[0])
