"""Node facts: what filters and scores that rest on nodes alone say, for all classes that ask alike.

Most classes of pods differ in the resources that they ask for, and agree in tolerations, node
selectors and images: they share one ``NodeFacts``, kept by ``decision.Decider`` for as long
as a class uses it. It reads the node table's log of facts and judges changed rows again.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows, Values, blocks
from kybern.scheduler.columns.traits import Reader, Trait
from kybern.scheduler.plugin import Filter, Score


class WeightedScore:
    """A plugin's score with its weight in the profile.

    ``kept`` are the raw scores of all rows, if they rest on nodes alone; ``constant`` if they are
    the same everywhere, which cannot change a choice.
    """

    __slots__ = ("constant", "kept", "plugin", "score", "weight")

    def __init__(self, plugin: str, score: Score, weight: int) -> None:
        self.plugin = plugin
        self.score = score
        self.weight = weight
        self.kept: Values | None = None
        self.constant = False


class KeptTrait(Trait):
    """Rows are told apart by what a score says of their nodes."""

    def __init__(self, weighted: WeightedScore) -> None:
        self.key = weighted
        self._weighted = weighted

    def facts_changed(self) -> None:
        self.is_telling = not self._weighted.constant

    def over(self, rows: Any) -> Values:
        return self._kept[rows]

    def reader(self) -> Reader:
        return self._kept.item

    @property
    def _kept(self) -> Values:
        assert self._weighted.kept is not None
        return self._weighted.kept


def sharing_key(
    filters: Sequence[tuple[str, Filter]], scores: Sequence[WeightedScore]
) -> Hashable | None:
    """Equal for filters and scores that give the same answers; None if one is like no other."""
    keys = [(name, node_filter.key) for name, node_filter in filters]
    keys += [(weighted.plugin, weighted.score.key) for weighted in scores]
    return None if any(key is None for _, key in keys) else tuple(keys)


class NodeFacts:
    """``ok`` says which rows the filters admit, ``total`` sums the plain scores; ``scores`` are the
    normalised ones by plugin, with what they keep."""

    def __init__(
        self,
        cluster: ClusterColumns,
        filters: Sequence[tuple[str, Filter]],
        scores: Sequence[WeightedScore],
    ) -> None:
        self._nodes = cluster.nodes
        self._filters = [node_filter for _, node_filter in filters]
        self._plain = [one for one in scores if not one.score.normalises]
        self.scores = {one.plugin: one for one in scores if one.score.normalises}
        self.ok: Mask = np.zeros(0, dtype=np.bool_)
        self.total: Values = np.zeros(0, dtype=np.int64)
        self._epoch = -1
        self._position = -1

    def refresh(self) -> None:
        """Bring the answers up to date with the node table."""
        nodes, count = self._nodes, len(self._nodes.names)
        is_whole = self._epoch == nodes.epoch and len(self.ok) == count
        if is_whole and self._position == nodes.facts.end:
            return
        changed = nodes.facts.since(self._position) if is_whole else None
        if changed is None:
            self.ok = np.zeros(count, dtype=np.bool_)
            self.total = np.zeros(count, dtype=np.int64)
            for weighted in self.scores.values():
                weighted.kept = np.zeros(count, dtype=np.int64)
            for rows in blocks(count):
                self._judge(rows)
        else:
            self._judge(np.array(changed, dtype=np.intp))
        self._epoch, self._position = nodes.epoch, nodes.facts.end
        self._note_constants()

    def _judge(self, rows: Rows | slice) -> None:
        ok = self._nodes.alive.values[rows] != 0
        for node_filter in self._filters:
            ok &= node_filter.feasible(rows)
        self.ok[rows] = ok
        total: Values = np.zeros(len(ok), dtype=np.int64)
        for weighted in self._plain:
            total += weighted.weight * weighted.score.raw(rows)
        self.total[rows] = total
        for weighted in self.scores.values():
            assert weighted.kept is not None
            weighted.kept[rows] = weighted.score.raw(rows)

    def _note_constants(self) -> None:
        alive = self._nodes.alive.values[: len(self.ok)] != 0
        for weighted in self.scores.values():
            assert weighted.kept is not None
            seen = weighted.kept[alive]
            weighted.constant = not len(seen) or bool(seen.min() == seen.max())
