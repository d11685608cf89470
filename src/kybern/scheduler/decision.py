"""The decision: which node a pod goes to, or why there is none.

Pure: reads the cluster's columns and the nominations, draws ties from the clock's random source,
changes nothing. All feasible nodes are scored, whatever percentageOfNodesToScore says, so choices
are at least as good as upstream's sampled ones.
"""

import random
from dataclasses import dataclass

import numpy as np

from kybern.scheduler.class_cache import ClassCache
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.columns.draw import draw_row, drawn
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.lookalikes import Lookalikes
from kybern.scheduler.nominations import NO_ROWS, Nominations
from kybern.scheduler.plugin import Obj, Verdict
from kybern.scheduler.pod_class import PodClass
from kybern.scheduler.profile import Profile
from kybern.scheduler.row_totals import INFEASIBLE

# After so many rows that turned out not to do, all rows are asked about together.
PROBES = 32


@dataclass(frozen=True, slots=True)
class Placement:
    """A pod's node."""

    node: str
    row: int
    feasible: int
    evaluated: int


class Decider:
    """Decides for one profile."""

    def __init__(
        self,
        cluster: ClusterColumns,
        profile: Profile,
        nominations: Nominations,
        randomness: random.Random,
    ) -> None:
        self.cluster = cluster
        self.profile = profile
        self.nominations = nominations
        self._random = randomness
        self._classes = ClassCache(cluster, profile)

    def decide(self, pod: Obj) -> Placement | FitError:
        """Pick a node for the pod; ties are broken uniformly at random."""
        node_count = self.cluster.nodes.node_count
        if node_count == 0:
            return FitError(0)
        pod_class = self.pod_class(pod)
        pod_class.judged.pods += 1
        pod_class.judged.nodes += node_count
        if pod_class.confinements:
            return self._decide_confined(pod, pod_class)
        pod_class.refresh()
        nominated = (pod.get("status") or {}).get("nominatedNodeName")
        if nominated and (placement := self._try_nominated(pod, pod_class, nominated)):
            return placement
        top = int(pod_class.base.max())
        if top == INFEASIBLE:
            return self._no_fit(pod_class)
        contested = self.nominations.contested_rows(pod, self.cluster.nodes)
        if pod_class.is_plain:
            placement = self._probe(pod, pod_class, top, bool(len(contested)))
            return placement or self._pick(pod, pod_class, contested)
        alike = None if len(contested) else pod_class.lookalikes
        kinds = alike.examples() if alike is not None else None
        if alike is None or kinds is None:
            return self._pick(pod, pod_class, contested)
        return self._pick_of_kinds(pod_class, alike, *kinds)

    def pod_class(self, pod: Obj) -> PodClass:
        """The class of the pod's shape."""
        return self._classes.of(pod)

    def diagnose(self, pod: Obj, pod_class: PodClass, rows: Rows, contested: Rows) -> FitError:
        """Explain why none of ``rows`` (all live nodes, or the confined ones) will do."""
        verdicts, left = pod_class.diagnose(rows)
        if len(left):
            # It fits as the node is; with the pods nominated there it does not.
            for row in np.intersect1d(contested, left).tolist():
                verdicts += self._with_nominated(pod, row, pod_class)
        return FitError(self.cluster.nodes.node_count, verdicts)

    def draw_offset(self, count: int) -> int:
        """A random position among ``count``."""
        return int(self._random.random() * count)

    def fits_with_nominated(self, pod: Obj, pod_class: PodClass, row: int) -> bool:
        """Whether the pod still fits when the pods nominated to the row are counted as there."""
        return not self._with_nominated(pod, row, pod_class)

    def _with_nominated(self, pod: Obj, row: int, pod_class: PodClass) -> list[Verdict]:
        rivals = self.nominations.rivals(pod, self.cluster.nodes.names[row])
        supposed = [self.cluster.suppose(rival, row) for rival in rivals]
        try:
            return pod_class.diagnose(np.array([row], dtype=np.intp))[0]
        finally:
            for placed in supposed:
                self.cluster.detach(placed)

    def _probe(
        self, pod: Obj, pod_class: PodClass, top: int, is_contested: bool
    ) -> Placement | None:
        """Draw rows by their totals, the best first, until one passes what is costly to ask."""
        base, nodes = pod_class.base, self.cluster.nodes
        if not pod_class.late_filters and not is_contested:
            row = draw_row(base == top, self._random)
            return Placement(nodes.names[row], row, -1, nodes.node_count)
        tried = 0
        while top > INFEASIBLE:
            for row in drawn(np.flatnonzero(base == top), self._random):
                if self._passes(pod, pod_class, row, is_contested):
                    return Placement(nodes.names[row], row, -1, nodes.node_count)
                tried += 1
                if tried == PROBES:
                    return None
            top = int(base[base < top].max(initial=INFEASIBLE))
        return None

    def _passes(self, pod: Obj, pod_class: PodClass, row: int, is_contested: bool) -> bool:
        if not all(node_filter.fits(row) for _, node_filter in pod_class.late_filters):
            return False
        if not is_contested or not self.nominations.rivals(pod, self.cluster.nodes.names[row]):
            return True
        return self.fits_with_nominated(pod, pod_class, row)

    def feasible_rows(self, pod: Obj, pod_class: PodClass) -> Rows:
        """All rows that could take the pod as the columns are."""
        if any(confinement.rejection for _, confinement in pod_class.confinements):
            return np.zeros(0, dtype=np.intp)
        if pod_class.confinements:
            return self._fitting(pod, pod_class, self._confined_rows(pod_class))
        pod_class.refresh()
        contested = self.nominations.contested_rows(pod, self.cluster.nodes)
        rows = np.flatnonzero(pod_class.base > INFEASIBLE)
        return self._filtered(pod, pod_class, rows, contested)

    def best_of(self, pod_class: PodClass, rows: Rows, extra: Values) -> Placement:
        """The best of feasible rows, with scores of others added to those of the plugins."""
        row = int(rows[0])
        if len(rows) > 1:
            total = extra.copy()
            for weighted, _, normalised in pod_class.score_table(rows):
                total += weighted.weight * normalised
            row = int(rows[draw_row(total == total.max(), self._random)])
        nodes = self.cluster.nodes
        return Placement(nodes.names[row], row, len(rows), nodes.node_count)

    def _filtered(self, pod: Obj, pod_class: PodClass, rows: Rows, contested: Rows) -> Rows:
        """Rows of a good ``base`` that pass the filters of the whole cluster and rivals, too."""
        for _, node_filter in pod_class.late_filters:
            if len(rows):
                rows = rows[node_filter.feasible(rows)]
        if len(contested):
            left = np.intersect1d(contested, rows).tolist()
            lost = [row for row in left if not self.fits_with_nominated(pod, pod_class, row)]
            rows = rows[~np.isin(rows, lost)]
        return rows

    def _pick(self, pod: Obj, pod_class: PodClass, contested: Rows) -> Placement | FitError:
        """Ask about every row."""
        rows = np.flatnonzero(pod_class.base > INFEASIBLE)
        rows = self._filtered(pod, pod_class, rows, contested)
        if not len(rows):
            live = np.flatnonzero(self.cluster.nodes.alive.values)
            return self.diagnose(pod, pod_class, live, contested)
        row = int(rows[0])
        if len(rows) > 1:
            total = self._total(pod_class, rows, None)
            row = int(rows[draw_row(total == total.max(), self._random)])
        count = self.cluster.nodes.node_count
        return Placement(self.cluster.nodes.names[row], row, len(rows), count)

    def _pick_of_kinds(
        self, pod_class: PodClass, alike: Lookalikes, examples: Rows, counts: Values
    ) -> Placement | FitError:
        """Ask about one row of each kind."""
        rows = examples
        for _, node_filter in pod_class.late_filters:
            if len(rows):
                ok = node_filter.feasible(rows)
                rows, counts = rows[ok], counts[ok]
        if not len(rows):
            return self._no_fit(pod_class, examples)
        total = self._total(pod_class, rows, counts)
        row = alike.draw(rows[total == total.max()], self._random)
        nodes = self.cluster.nodes
        return Placement(nodes.names[row], row, int(counts.sum()), nodes.node_count)

    def _total(self, pod_class: PodClass, rows: Rows, counts: Values | None) -> Values:
        """The final scores of feasible rows, or of examples of kinds that count so much each."""
        total = pod_class.base[rows]
        for weighted in pod_class.normalised_scores:
            score = weighted.score
            if weighted.constant:
                continue
            if weighted.kept is not None:
                raw = weighted.kept[rows]
            elif counts is not None:
                raw = score.raw_of_kinds(rows, counts)
            else:
                raw = score.raw(rows)
            total = total + weighted.weight * score.normalised(raw, rows)
        return total

    def _try_nominated(self, pod: Obj, pod_class: PodClass, node: str) -> Placement | None:
        """The node that preemption cleared for the pod is tried before all others."""
        row = self.cluster.nodes.rows.get(node)
        if row is None or not pod_class.fits(row):
            return None
        if not self.fits_with_nominated(pod, pod_class, row):
            return None
        return Placement(node, row, 1, 1)

    def _decide_confined(self, pod: Obj, pod_class: PodClass) -> Placement | FitError:
        """Plugins named the only nodes that can do: look at no other."""
        nodes = self.cluster.nodes
        names = tuple(name for name, _ in pod_class.confinements)
        for plugin, confinement in pod_class.confinements:
            if confinement.rejection:
                return FitError(
                    nodes.node_count, rejection=confinement.rejection, rejected_by=(plugin,)
                )
        rows = self._confined_rows(pod_class)
        good = self._fitting(pod, pod_class, rows)
        if not len(good):
            error = self.diagnose(pod, pod_class, rows, rows)
            error.confined_by = names
            error.absent = nodes.node_count - len(rows)
            return error
        return self.best_of(pod_class, good, np.zeros(len(good), dtype=np.int64))

    def _confined_rows(self, pod_class: PodClass) -> Rows:
        """The live rows that all confinements name."""
        nodes = self.cluster.nodes
        allowed = [c.nodes for _, c in pod_class.confinements]
        found = [nodes.rows[n] for n in allowed[0] if n in nodes.rows]
        live = [row for row in found if nodes.alive.cells[row]]
        return np.array(
            [row for row in live if all(nodes.names[row] in more for more in allowed[1:])],
            dtype=np.intp,
        )

    def _fitting(self, pod: Obj, pod_class: PodClass, rows: Rows) -> Rows:
        """Those of a few rows that could take the pod."""
        fits = [self.fits_now(pod, pod_class, int(row)) for row in rows]
        return rows[np.array(fits, dtype=np.bool_)]

    def fits_now(self, pod: Obj, pod_class: PodClass, row: int) -> bool:
        """Every filter on one row as the columns are, with and without nominated pods."""
        if not pod_class.fits(row):
            return False
        contested = self.nominations.rivals(pod, self.cluster.nodes.names[row])
        return not contested or self.fits_with_nominated(pod, pod_class, row)

    def _no_fit(self, pod_class: PodClass, kinds: Rows = NO_ROWS) -> FitError:
        """No row is feasible, but for rows of ``kinds`` that the filters of the whole cluster turn
        down."""
        nodes, blame = self.cluster.nodes, pod_class.blame
        if blame is None:
            live = np.flatnonzero(nodes.alive.values)
            return self.diagnose(pod_class.shape.pod, pod_class, live, NO_ROWS)
        verdicts = blame.verdicts()
        if len(kinds):
            verdicts += pod_class.diagnose_kinds(kinds)
        return FitError(nodes.node_count, verdicts)
