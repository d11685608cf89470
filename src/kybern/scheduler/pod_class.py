"""Pod class: the cached answers of one profile for all pods of one shape.

Built from a shape and the profile's plugins; kept by ``decision.Decider`` in a bounded cache. What
rests on nodes and on the pods of a row is shared with classes that ask the same
(``row_totals.py``). Answers that rest on the whole cluster, or are costly, are not cached: the
decider asks these filters and scores each time, of one row of each kind (``lookalikes.py``) or of
rows that are about to be chosen.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from kybern.scheduler.blame import Blame
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.columns.traits import JudgedTrait, Trait
from kybern.scheduler.lookalikes import Lookalikes
from kybern.scheduler.node_facts import KeptTrait, WeightedScore
from kybern.scheduler.plugin import Basis, Confinement, Filter, Verdict
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.profile import Profile
from kybern.scheduler.row_totals import RowTotals

NamedFilters = Sequence[tuple[str, Filter]]
TotalsFor = Callable[[NamedFilters, Sequence[WeightedScore]], RowTotals]


class PodClass:
    """One shape's answers; ``totals_for`` finds or makes what it shares with other classes."""

    def __init__(
        self, shape: PodShape, profile: Profile, cluster: ClusterColumns, totals_for: TotalsFor
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
        # Late filters are asked at each decision; what the others say is in the totals.
        self._row_filters = [one for one in self.filters if not _is_late(one[1])]
        self.late_filters = [one for one in self.filters if _is_late(one[1])]
        scores = [
            WeightedScore(plugin.name, score, weight)
            for plugin, weight in profile.scoring
            if (score := plugin.score(shape)) is not None
        ]
        self.totals = totals_for(self._row_filters, scores)
        facts = self.totals.facts
        self.scores = [facts.scores.get(one.plugin, one) for one in scores]
        self.normalised_scores = [one for one in self.scores if one.score.normalises]
        self.judged = profile.judged_by(
            (name for name, _ in self.filters), (one.plugin for one in self.scores)
        )

    @property
    def is_plain(self) -> bool:
        """The totals decide, but for what is costly to ask."""
        are_costly = all(node_filter.is_costly for _, node_filter in self.late_filters)
        return are_costly and all(s.constant for s in self.normalised_scores)

    @property
    def base(self) -> Values:
        """The sum of the plain scores of each row, as of the last refresh."""
        return self.totals.values

    def close(self) -> None:
        """Give back shared counters."""
        for _, node_filter in self.filters:
            node_filter.close()
        for weighted in self.scores:
            weighted.score.close()

    def refresh(self) -> None:
        """Bring ``base`` up to date with the node table."""
        self.totals.refresh()

    @cached_property
    def lookalikes(self) -> Lookalikes | None:
        """The kinds of rows; None if a filter or a score tells rows apart by anything."""
        found = [node_filter.traits() for _, node_filter in self.late_filters]
        found += [_traits_of(weighted) for weighted in self.normalised_scores]
        traits: list[Trait] = []
        for some in found:
            if some is None:
                return None
            traits += some
        return Lookalikes(self.cluster.nodes, self.totals, traits)

    @cached_property
    def blame(self) -> Blame | None:
        """Who turns down rows by nodes and usage; None if a late filter may have done so before."""
        if not all(_is_late(one[1]) for one in self.filters[len(self._row_filters) :]):
            return None
        order = [name for name, _ in self._row_filters]
        return Blame(
            self.cluster.nodes, lambda rows: self._judged(self._row_filters, rows)[0], order
        )

    def fits(self, row: int) -> bool:
        """Every filter on one row, from live columns."""
        return bool(self.cluster.nodes.alive.cells[row]) and all(
            node_filter.fits(row) for _, node_filter in self.filters
        )

    def diagnose(self, rows: Rows) -> tuple[list[Verdict], Rows]:
        """Why each of ``rows`` was turned down, by the first plugin that did in profile order, and
        the rows that none turned down."""
        return self._judged(self.filters, rows)

    def diagnose_kinds(self, examples: Rows) -> list[Verdict]:
        """Why the late filters turned down the rows of the kinds of ``examples``, which are all
        that the others left."""
        assert self.lookalikes is not None
        verdicts, _ = self._judged(self.late_filters, examples)
        return [self.lookalikes.on_all(verdict) for verdict in verdicts]

    def score_table(self, rows: Rows) -> list[tuple[WeightedScore, Values, Values]]:
        """Each plugin's raw and normalised scores (without weight) for feasible rows."""
        table: list[tuple[WeightedScore, Values, Values]] = []
        for weighted in self.scores:
            score = weighted.score
            raw = score.raw(rows)
            table.append((weighted, raw, score.normalised(raw, rows) if score.normalises else raw))
        return table

    def _judged(self, filters: NamedFilters, rows: Rows) -> tuple[list[Verdict], Rows]:
        verdicts: list[Verdict] = []
        facts = self.totals.facts
        facts.refresh()
        are_admitted = bool(facts.ok[rows].all())
        for name, node_filter in filters:
            if not len(rows):
                break
            if are_admitted and node_filter.basis is Basis.NODE and not node_filter.is_costly:
                continue
            ok = node_filter.feasible(rows)
            failed = rows[~ok]
            if len(failed):
                verdicts += node_filter.verdicts(name, failed)
                rows = rows[ok]
        return verdicts, rows


def _is_late(node_filter: Filter) -> bool:
    """Asked at each decision."""
    return node_filter.is_costly or node_filter.basis is Basis.CLUSTER


def _traits_of(weighted: WeightedScore) -> Sequence[Trait] | None:
    """A normalised score that does not rest on the whole cluster is its own trait."""
    score = weighted.score
    if score.basis is Basis.CLUSTER:
        return score.traits()
    return [KeptTrait(weighted) if score.basis is Basis.NODE else JudgedTrait(score, score.raw)]
