"""Pod class: the cached answers of one profile for all pods of one shape.

Built from a shape and the profile's plugins; kept by ``decision.Decider`` in a bounded cache. It
holds, for each node row, whether the pod may run there and the sum of the plain scores (``base``,
``INFEASIBLE`` where it may not), and keeps them true by reading the node table's change logs: few
changed rows are judged one by one, more of them together, very many with all rows. Answers that
rest on the whole cluster are not cached: the decider asks their filters and scores each time.
"""

from collections.abc import Sequence

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows, Values, cells_of
from kybern.scheduler.plugin import Basis, Confinement, Filter, Plugin, Score, Verdict
from kybern.scheduler.pod_shape import PodShape

INFEASIBLE = -(1 << 40)

# Up to this many changed rows, one by one in Python beats numpy's overhead.
FEW_CHANGES = 15
# Beyond this share of all rows, judging all of them beats gathering the changed ones.
CHANGES_SHARE = 2


class WeightedScore:
    """A plugin's score with its weight in the profile; ``constant`` if all rows get the same."""

    __slots__ = ("constant", "kept", "plugin", "score", "weight")

    def __init__(self, plugin: str, score: Score, weight: int) -> None:
        self.plugin = plugin
        self.score = score
        self.weight = weight
        self.kept: Values | None = None
        self.constant = False


class PodClass:
    """One shape's answers."""

    def __init__(
        self, shape: PodShape, plugins: Sequence[tuple[Plugin, int]], cluster: ClusterColumns
    ) -> None:
        self.shape = shape
        self.cluster = cluster
        self.filters: list[tuple[str, Filter]] = []
        self.confinements: list[tuple[str, Confinement]] = []
        self.scores: list[WeightedScore] = []
        for plugin, weight in plugins:
            if (confinement := plugin.confine(shape)) is not None:
                self.confinements.append((plugin.name, confinement))
            if (node_filter := plugin.filter(shape)) is not None:
                self.filters.append((plugin.name, node_filter))
            if weight and (score := plugin.score(shape)) is not None:
                self.scores.append(WeightedScore(plugin.name, score, weight))
        self._sort_by_basis()
        self.base: Values = np.zeros(0, dtype=np.int64)
        self._static_ok: Mask = np.zeros(0, dtype=np.bool_)
        self._static_score: Values = np.zeros(0, dtype=np.int64)
        self._epoch = -1
        self._facts_position = -1
        self._usage_position = -1

    @property
    def is_plain(self) -> bool:
        """``base`` alone decides."""
        return not self.cluster_filters and all(s.constant for s in self.normalised_scores)

    def close(self) -> None:
        """Give back shared counters."""
        for _, node_filter in self.filters:
            node_filter.close()
        for weighted in self.scores:
            weighted.score.close()

    def refresh(self) -> None:
        """Bring ``base`` up to date with the node table."""
        nodes = self.cluster.nodes
        is_whole = self._epoch == nodes.epoch and len(self.base) == len(nodes.names)
        facts = nodes.facts.since(self._facts_position) if is_whole else None
        usage = nodes.usage.since(self._usage_position) if facts is not None else None
        many = FEW_CHANGES + len(nodes.names) // CHANGES_SHARE
        if facts is None or usage is None or len(facts) + len(usage) > many:
            if facts is None or facts:
                self._judge_facts()
            self._judge_usage()
        else:
            if facts:
                self._judge_facts_of(facts)
                usage = facts + usage
            if len(usage) > FEW_CHANGES:
                self._judge_usage_of_rows(np.array(usage, dtype=np.intp))
            else:
                for row in usage:
                    self._judge_usage_of(row)
        self._epoch = nodes.epoch
        self._facts_position = nodes.facts.end
        self._usage_position = nodes.usage.end

    def fits(self, row: int) -> bool:
        """Every filter on one row, from live columns."""
        return bool(self.cluster.nodes.alive.cells[row]) and all(
            node_filter.fits(row) for _, node_filter in self.filters
        )

    def diagnose(self, rows: Rows) -> list[Verdict]:
        """Why each of ``rows`` was turned down: the first plugin that did, in profile order."""
        verdicts: list[Verdict] = []
        for name, node_filter in self.filters:
            if not len(rows):
                break
            ok = node_filter.feasible(rows)
            failed = rows[~ok]
            if len(failed):
                verdicts += node_filter.verdicts(name, failed)
                rows = rows[ok]
        return verdicts

    def score_table(self, rows: Rows) -> list[tuple[WeightedScore, Values, Values]]:
        """Each plugin's raw and normalised scores (without weight) for feasible rows."""
        table: list[tuple[WeightedScore, Values, Values]] = []
        for weighted in self.scores:
            score = weighted.score
            raw = score.raw(rows)
            table.append((weighted, raw, score.normalised(raw, rows) if score.normalises else raw))
        return table

    def _sort_by_basis(self) -> None:
        by_basis: dict[Basis, list[Filter]] = {basis: [] for basis in Basis}
        for _, node_filter in self.filters:
            by_basis[node_filter.basis].append(node_filter)
        self._node_filters = by_basis[Basis.NODE]
        self._usage_filters = by_basis[Basis.USAGE]
        self.cluster_filters = by_basis[Basis.CLUSTER]
        self.normalised_scores = [s for s in self.scores if s.score.normalises]
        plain = [s for s in self.scores if not s.score.normalises]
        self._node_scores = [s for s in plain if s.score.basis is Basis.NODE]
        self._usage_scores = [s for s in plain if s.score.basis is Basis.USAGE]
        assert len(self._node_scores) + len(self._usage_scores) == len(plain)

    def _judge_facts(self) -> None:
        rows = slice(0, len(self.cluster.nodes.names))
        ok = self.cluster.nodes.alive.values[rows] != 0
        for node_filter in self._node_filters:
            ok &= node_filter.feasible(rows)
        total: Values = np.zeros(len(ok), dtype=np.int64)
        for weighted in self._node_scores:
            total += weighted.weight * weighted.score.raw(rows)
        self._static_ok = ok
        self._static_score = total
        for weighted in self.normalised_scores:
            if weighted.score.basis is Basis.NODE:
                weighted.kept = weighted.score.raw(rows)
        self._note_constants()

    def _judge_facts_of(self, changed: list[int]) -> None:
        rows = np.array(changed, dtype=np.intp)
        ok = self.cluster.nodes.alive.values[rows] != 0
        for node_filter in self._node_filters:
            ok &= node_filter.feasible(rows)
        total: Values = np.zeros(len(rows), dtype=np.int64)
        for weighted in self._node_scores:
            total += weighted.weight * weighted.score.raw(rows)
        self._static_ok[rows] = ok
        self._static_score[rows] = total
        for weighted in self.normalised_scores:
            if weighted.kept is not None:
                weighted.kept[rows] = weighted.score.raw(rows)
        self._note_constants()

    def _note_constants(self) -> None:
        """A raw score that is the same on all nodes cannot change the choice."""
        alive = self.cluster.nodes.alive.values[: len(self._static_ok)] != 0
        for weighted in self.normalised_scores:
            if weighted.kept is not None:
                seen = weighted.kept[alive]
                weighted.constant = not len(seen) or bool(seen.min() == seen.max())

    def _judge_usage(self) -> None:
        rows = slice(0, len(self._static_ok))
        ok = self._static_ok
        for node_filter in self._usage_filters:
            ok = ok & node_filter.feasible(rows)
        total = self._static_score
        for weighted in self._usage_scores:
            total = total + weighted.weight * weighted.score.raw(rows)
        self.base = np.where(ok, total, INFEASIBLE)
        self._cells = cells_of(self.base)

    def _judge_usage_of_rows(self, rows: Rows) -> None:
        """Some rows at once; repeated rows do no harm."""
        ok = self._static_ok[rows]
        for node_filter in self._usage_filters:
            ok &= node_filter.feasible(rows)
        total = self._static_score[rows]
        for weighted in self._usage_scores:
            total += weighted.weight * weighted.score.raw(rows)
        self.base[rows] = np.where(ok, total, INFEASIBLE)

    def _judge_usage_of(self, row: int) -> None:
        if not self._static_ok[row]:
            self._cells[row] = INFEASIBLE
            return
        for node_filter in self._usage_filters:
            if not node_filter.fits(row):
                self._cells[row] = INFEASIBLE
                return
        total = int(self._static_score[row])
        for weighted in self._usage_scores:
            total += weighted.weight * weighted.score.raw_one(row)
        self._cells[row] = total
