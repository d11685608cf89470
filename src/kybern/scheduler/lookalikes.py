"""Lookalikes: rows that one class of pods cannot tell apart, so that one answers for many.

Filters and scores that rest on the whole cluster have to be asked at each decision. They say by
what they tell rows apart (``columns/traits.py``); rows with equal traits and an equal total get
the same answer and the same final score. A cluster of thousands of rows has some dozens of kinds of
them: the decider asks about one row of each kind, and draws from all rows of the best.

A placed pod moves its row to another kind. Any change of node facts sorts all rows anew. Where
asking about every row is cheaper, there are no kinds: in small clusters, for a class that is asked
so seldom that much changes in between, and for one whose rows are nearly all different.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.columns.column import Rows, Values, cells_of
from kybern.scheduler.columns.draw import draw_row
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.columns.traits import Trait
from kybern.scheduler.plugin import Verdict
from kybern.scheduler.row_totals import FEW_CHANGES, INFEASIBLE, RowTotals

Kinds = NDArray[np.int32]

NO_KIND = -1

# Fewer rows than this are sooner asked about than kept sorted.
FEW_ROWS = 2000
# Up to this many changes, and this share of all rows, following them beats asking about all rows.
FOLLOWED, FOLLOWED_SHARE = 16, 64
# With more kinds than this, and this share of all rows, kinds are of no use.
KINDS, KINDS_SHARE = 32, 4
NEVER = -(1 << 62)


class Lookalikes:
    """The kinds of rows of one class; only rows that are feasible by their total have one."""

    def __init__(self, nodes: NodeTable, totals: RowTotals, traits: Sequence[Trait]) -> None:
        self._nodes = nodes
        self._totals = totals
        self._traits = traits
        self._telling: Sequence[Trait] = traits
        self._asked = NEVER
        self._facts = (-1, -1, -1)
        self._position = NEVER
        self._is_useless = False
        self._kind_of: Kinds = np.zeros(0, dtype=np.int32)
        # The kind of each combination of total and traits.
        self._kinds: dict[tuple[int, ...], int] = {}
        self._examples: Values = np.zeros(0, dtype=np.int64)
        self._counts: Values = np.zeros(0, dtype=np.int64)

    def examples(self) -> tuple[Rows, Values] | None:
        """One row of each kind, and how many rows are of that kind; None if each row must be asked
        about. The totals have to be up to date."""
        if len(self._nodes.names) < FEW_ROWS:
            return None
        usage = self._nodes.usage
        asked, self._asked = self._asked, usage.end
        if usage.end - asked > self._limit(FOLLOWED, FOLLOWED_SHARE):
            return None
        nodes = self._nodes
        facts = (nodes.epoch, nodes.facts.end, len(nodes.names))
        if facts != self._facts or not self._follow():
            self._sort(are_facts_new=facts != self._facts)
            self._facts = facts
        if self._is_useless:
            return None
        found = np.flatnonzero(self._counts)
        return self._examples[found], self._counts[found]

    def draw(self, examples: Rows, randomness: random.Random) -> int:
        """A row of the kinds of ``examples``, each with the same chance."""
        kinds = self._kind_of[examples].tolist()
        counts = [self._count_cells[kind] for kind in kinds]
        (kind,) = randomness.choices(kinds, counts) if len(kinds) > 1 else kinds
        if self._count_cells[kind] == 1:
            return int(self._examples[kind])
        return draw_row(self._kind_of == kind, randomness)

    def on_all(self, verdict: Verdict) -> Verdict:
        """A verdict on examples as one on all rows of their kinds."""
        kinds, kind_of = self._kind_of[verdict.rows], self._kind_of.copy()
        count = int(self._counts[kinds].sum())

        def rows() -> Rows:
            return np.flatnonzero(np.isin(kind_of, kinds))

        return Verdict(verdict.plugin, verdict.reasons, verdict.unresolvable, rows, count)

    def _limit(self, least: int, share: int) -> int:
        return least + len(self._nodes.names) // share

    def _follow(self) -> bool:
        """Move the rows whose usage changed; False if all rows have to be sorted anew."""
        usage = self._nodes.usage
        changed = usage.since(self._position)
        if self._is_useless:
            # Rows may have become more alike, but that takes many changes.
            return usage.end - self._position < len(self._nodes.names)
        if changed is None or len(changed) > self._limit(FOLLOWED, FOLLOWED_SHARE):
            return False
        self._position = usage.end
        if not changed:
            return True
        bereft: list[int] = []
        for row, key in self._keys(changed):
            if not self._move(row, key, bereft):
                return False
        for kind in bereft:
            example = int(self._examples[kind])
            if self._count_cells[kind] and self._kind_cells[example] != kind:
                self._examples[kind] = (self._kind_of == kind).argmax()
        return True

    def _keys(self, rows: list[int]) -> list[tuple[int, tuple[int, ...]]]:
        """What tells each row from others: its total first."""
        if len(rows) > FEW_CHANGES:
            several = np.array(rows, dtype=np.intp)
            columns = [self._totals.values[several]]
            columns += [trait.over(several) for trait in self._telling]
            return list(
                zip(rows, zip(*(one.tolist() for one in columns), strict=True), strict=True)
            )
        totals = self._totals.cells
        readers = [trait.reader() for trait in self._telling]
        return [(row, (totals[row], *[read(row) for read in readers])) for row in rows]

    def _move(self, row: int, key: tuple[int, ...], bereft: list[int]) -> bool:
        """Note a row's kind; False if there is no room for another kind. Kinds that lose the row
        that is their example join ``bereft``."""
        kind = NO_KIND
        if key[0] != INFEASIBLE:
            kind = self._kinds.setdefault(key, len(self._kinds))
            if kind == len(self._counts):
                return False
        old = self._kind_cells[row]
        if kind == old:
            return True
        counts = self._count_cells
        if old != NO_KIND:
            counts[old] -= 1
            if self._examples[old] == row:
                bereft.append(old)
        if kind != NO_KIND:
            if not counts[kind]:
                self._examples[kind] = row
            counts[kind] += 1
        self._kind_cells[row] = kind
        return True

    def _sort(self, are_facts_new: bool) -> None:
        """Sort all rows into kinds."""
        if are_facts_new:
            for trait in self._traits:
                trait.facts_changed()
            telling = {trait.key: trait for trait in self._traits if trait.is_telling}
            self._telling = tuple(telling.values())
        self._position = self._nodes.usage.end
        rows = np.flatnonzero(self._totals.values > INFEASIBLE)
        columns = [self._totals.values[rows]]
        columns += [trait.over(rows) for trait in self._telling]
        _, first, kinds, counts = np.unique(
            _packed(columns), return_index=True, return_inverse=True, return_counts=True
        )
        self._is_useless = len(first) > self._limit(KINDS, KINDS_SHARE)
        self._kind_of = np.full(len(self._totals.values), NO_KIND, dtype=np.int32)
        self._kind_of[rows] = kinds
        self._kind_cells = memoryview(self._kind_of)  # type: ignore[arg-type]
        keys = zip(*(column[first].tolist() for column in columns), strict=True)
        self._kinds = {key: kind for kind, key in enumerate(keys)}
        # Room for as many kinds again, then all rows are sorted anew and empty kinds are gone.
        self._examples = np.zeros(2 * len(first) + KINDS, dtype=np.int64)
        self._examples[: len(first)] = rows[first]
        self._counts = np.zeros(len(self._examples), dtype=np.int64)
        self._counts[: len(first)] = counts
        self._count_cells = cells_of(self._counts)


def _packed(columns: Sequence[Values]) -> Values:
    """One number for each row, equal where all columns are."""
    packed, span = np.zeros_like(columns[0]), 1
    for column in columns:
        if not len(column):
            break
        least = int(column.min())
        width = int(column.max()) - least + 1
        if span * width >= 2**62:
            values, column = np.unique(column, return_inverse=True)
            least, width = 0, len(values)
            values, packed = np.unique(packed, return_inverse=True)
            span = len(values)
        packed = packed * width + (column - least)
        span *= width
    return packed
