"""Pod class: the cached answers of one profile for all pods of one shape.

Built from a shape and the profile's plugins; kept by ``decision.Decider`` in a bounded cache. It
holds, for each node row, whether the pod may run there and the sum of the plain scores (``base``,
``INFEASIBLE`` where it may not), and keeps them true by reading the node table's change logs: few
changed rows are judged one by one, more of them together, very many with all rows. What rests on
nodes alone is shared with other classes (``node_facts.py``). Answers that rest on the whole cluster
are not cached: the decider asks their filters and scores each time.
"""

from collections.abc import Callable, Sequence

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values, blocks, cells_of
from kybern.scheduler.node_facts import NodeFacts, WeightedScore
from kybern.scheduler.plugin import Basis, Confinement, Filter, Verdict
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.profile import Profile

INFEASIBLE = -(1 << 40)

# Up to this many changed rows, one by one in Python beats numpy's overhead.
FEW_CHANGES = 15
# Beyond this share of all rows, judging all of them beats gathering the changed ones.
CHANGES_SHARE = 2

FactsFor = Callable[[Sequence[tuple[str, Filter]], Sequence[WeightedScore]], NodeFacts]


class PodClass:
    """One shape's answers; ``facts_for`` finds or makes what it shares with other classes."""

    def __init__(
        self, shape: PodShape, profile: Profile, cluster: ClusterColumns, facts_for: FactsFor
    ) -> None:
        self.shape = shape
        self.cluster = cluster
        found = [(plugin.name, plugin.confine(shape)) for plugin in profile.confining]
        self.confinements: list[tuple[str, Confinement]] = [
            (name, confinement) for name, confinement in found if confinement is not None
        ]
        filters = [(plugin.name, plugin.filter(shape)) for plugin in profile.filtering]
        self.filters: list[tuple[str, Filter]] = [
            (name, node_filter) for name, node_filter in filters if node_filter is not None
        ]
        self.scores = [
            WeightedScore(plugin.name, score, weight)
            for plugin, weight in profile.scoring
            if (score := plugin.score(shape)) is not None
        ]
        self._facts = facts_for(
            [one for one in self.filters if one[1].basis is Basis.NODE],
            [one for one in self.scores if one.score.basis is Basis.NODE],
        )
        self.scores = [self._facts.scores.get(one.plugin, one) for one in self.scores]
        self._sort_by_basis()
        self.base: Values = np.zeros(0, dtype=np.int64)
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
        self._facts.refresh()
        changed = self._changed()
        if changed is None:
            self.base = np.zeros(len(nodes.names), dtype=np.int64)
            self._cells = cells_of(self.base)
            for rows in blocks(len(self.base)):
                self._judge(rows)
        elif len(changed) > FEW_CHANGES:
            self._judge(np.array(changed, dtype=np.intp))
        else:
            for row in changed:
                self._judge_one(row)
        self._epoch = nodes.epoch
        self._facts_position = nodes.facts.end
        self._usage_position = nodes.usage.end

    def fits(self, row: int) -> bool:
        """Every filter on one row, from live columns."""
        return bool(self.cluster.nodes.alive.cells[row]) and all(
            node_filter.fits(row) for _, node_filter in self.filters
        )

    def diagnose(self, rows: Rows) -> tuple[list[Verdict], Rows]:
        """Why each of ``rows`` was turned down, by the first plugin that did in profile order, and
        the rows that none turned down."""
        verdicts: list[Verdict] = []
        self._facts.refresh()
        are_admitted = bool(self._facts.ok[rows].all())
        for name, node_filter in self.filters:
            if not len(rows):
                break
            if are_admitted and node_filter.basis is Basis.NODE:
                continue
            ok = node_filter.feasible(rows)
            failed = rows[~ok]
            if len(failed):
                verdicts += node_filter.verdicts(name, failed)
                rows = rows[ok]
        return verdicts, rows

    def score_table(self, rows: Rows) -> list[tuple[WeightedScore, Values, Values]]:
        """Each plugin's raw and normalised scores (without weight) for feasible rows."""
        table: list[tuple[WeightedScore, Values, Values]] = []
        for weighted in self.scores:
            score = weighted.score
            raw = score.raw(rows)
            table.append((weighted, raw, score.normalised(raw, rows) if score.normalises else raw))
        return table

    def _sort_by_basis(self) -> None:
        self._usage_filters = [f for _, f in self.filters if f.basis is Basis.USAGE]
        self.cluster_filters = [f for _, f in self.filters if f.basis is Basis.CLUSTER]
        self.normalised_scores = [one for one in self.scores if one.score.normalises]
        plain = [one for one in self.scores if not one.score.normalises]
        self._usage_scores = [one for one in plain if one.score.basis is Basis.USAGE]
        assert not any(one.score.basis is Basis.CLUSTER for one in plain)

    def _changed(self) -> list[int] | None:
        """Rows to judge again, repeats included; None if that is all of them."""
        nodes = self.cluster.nodes
        if self._epoch != nodes.epoch or len(self.base) != len(nodes.names):
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
        ok = self._facts.ok[rows]
        for node_filter in self._usage_filters:
            ok = ok & node_filter.feasible(rows)
        total = self._facts.total[rows]
        for weighted in self._usage_scores:
            score = weighted.score.raw(rows)
            total = total + (score if weighted.weight == 1 else weighted.weight * score)
        self.base[rows] = np.where(ok, total, INFEASIBLE)

    def _judge_one(self, row: int) -> None:
        if not self._facts.ok[row]:
            self._cells[row] = INFEASIBLE
            return
        for node_filter in self._usage_filters:
            if not node_filter.fits(row):
                self._cells[row] = INFEASIBLE
                return
        total = int(self._facts.total[row])
        for weighted in self._usage_scores:
            total += weighted.weight * weighted.score.raw_one(row)
        self._cells[row] = total
