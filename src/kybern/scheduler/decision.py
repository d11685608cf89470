"""The decision: which node a pod goes to, or why there is none.

Pure: reads the cluster's columns and the nominations, draws ties from the clock's random source,
changes nothing. All feasible nodes are scored (percentageOfNodesToScore counts as 100), so choices
are at least as good as upstream's sampled ones.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.lookalikes import Lookalikes
from kybern.scheduler.node_facts import NodeFacts, WeightedScore, sharing_key
from kybern.scheduler.nominations import NO_ROWS, Nominations
from kybern.scheduler.plugin import Basis, Obj, Verdict
from kybern.scheduler.pod_class import NamedFilters, PodClass
from kybern.scheduler.pod_shape import make_shape, shape_key
from kybern.scheduler.pod_storage import storage_facts
from kybern.scheduler.profile import Profile
from kybern.scheduler.row_totals import INFEASIBLE, RowTotals

CLASSES = 1024
# Classes of pods with claims serve until the next change of storage, so few are kept.
PASSING_CLASSES = 16


@dataclass(frozen=True, slots=True)
class Placement:
    """A pod's node."""

    node: str
    row: int
    feasible: int
    evaluated: int


class Decider:
    """Decides for one profile; keeps up to ``CLASSES`` pod classes, the least used go first."""

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
        self._classes: OrderedDict[bytes, PodClass] = OrderedDict()
        self._facts: WeakValueDictionary[Hashable, NodeFacts] = WeakValueDictionary()
        self._totals: WeakValueDictionary[Hashable, RowTotals] = WeakValueDictionary()
        self._passing: deque[bytes] = deque()
        self._version = profile.version()

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
        if not len(contested):
            if pod_class.is_plain:
                return self._pick_plain(pod_class, top)
            alike = pod_class.lookalikes
            if alike is not None and (kinds := alike.examples()) is not None:
                return self._pick_of_kinds(pod_class, alike, *kinds)
        return self._pick(pod, pod_class, contested)

    def pod_class(self, pod: Obj) -> PodClass:
        """The class of the pod's shape, made if it is new."""
        version = self.profile.version()
        if version != self._version:
            self._version = version
            self._forget_classes()
        selector = self.profile.default_selector(pod)
        text = str(selector) if selector is not None else ""
        labels = pod["metadata"].get("labels") or {}
        there = self.cluster.storage
        facts = storage_facts(pod, there.backed)
        storage = facts and (facts, there.version)
        key = shape_key(pod, self.cluster.groups.project(labels), text, storage)
        found = self._classes.get(key)
        if found is not None:
            self._classes.move_to_end(key)
            return found
        shape = make_shape(key, pod, labels, selector)
        made = PodClass(shape, self.profile, self.cluster, self._totals_for)
        # Its selectors may look at more labels than before: file it under what they see now.
        key = shape_key(pod, self.cluster.groups.project(labels), text, storage)
        self._close_class(key)
        self._classes[key] = made
        if facts is not None:
            self._passing.append(key)
        if len(self._passing) > PASSING_CLASSES:
            self._close_class(self._passing.popleft())
        if len(self._classes) > CLASSES:
            self._classes.popitem(last=False)[1].close()
        return made

    def _totals_for(self, filters: NamedFilters, scores: Sequence[WeightedScore]) -> RowTotals:
        """What the filters and scores that do not rest on the whole cluster say, made if no class
        has it yet."""
        on_nodes = [one for one in filters if one[1].basis is Basis.NODE]
        on_usage = [one for one in filters if one[1].basis is Basis.USAGE]
        facts = self._facts_for(on_nodes, [s for s in scores if s.score.basis is Basis.NODE])
        plain = [s for s in scores if not s.score.normalises]
        assert not any(one.score.basis is Basis.CLUSTER for one in plain)
        plain = [s for s in plain if s.score.basis is Basis.USAGE]
        key = sharing_key(on_usage, plain)
        found = self._totals.get((facts, key)) if key is not None else None
        if found is None:
            found = RowTotals(self.cluster, facts, [f for _, f in on_usage], plain)
            if key is not None:
                self._totals[facts, key] = found
        return found

    def _facts_for(self, filters: NamedFilters, scores: Sequence[WeightedScore]) -> NodeFacts:
        key = sharing_key(filters, scores)
        found = self._facts.get(key) if key is not None else None
        if found is None:
            found = NodeFacts(self.cluster, filters, scores)
            if key is not None:
                self._facts[key] = found
        return found

    def _close_class(self, key: bytes) -> None:
        if (found := self._classes.pop(key, None)) is not None:
            found.close()

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

    def _pick_plain(self, pod_class: PodClass, top: int) -> Placement:
        row = self._draw(np.flatnonzero(pod_class.base == top))
        count = self.cluster.nodes.node_count
        return Placement(self.cluster.nodes.names[row], row, -1, count)

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
            row = self._draw(rows[total == total.max()])
        nodes = self.cluster.nodes
        return Placement(nodes.names[row], row, len(rows), nodes.node_count)

    def _filtered(self, pod: Obj, pod_class: PodClass, rows: Rows, contested: Rows) -> Rows:
        """Rows of a good ``base`` that pass the filters of the whole cluster and rivals, too."""
        for _, node_filter in pod_class.cluster_filters:
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
            row = self._draw(rows[total == total.max()])
        count = self.cluster.nodes.node_count
        return Placement(self.cluster.nodes.names[row], row, len(rows), count)

    def _pick_of_kinds(
        self, pod_class: PodClass, alike: Lookalikes, examples: Rows, counts: Values
    ) -> Placement | FitError:
        """Ask about one row of each kind."""
        rows = examples
        for _, node_filter in pod_class.cluster_filters:
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

    def _draw(self, ties: Rows) -> int:
        if len(ties) == 1:
            return int(ties[0])
        return int(ties[int(self._random.random() * len(ties))])

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

    def _forget_classes(self) -> None:
        for pod_class in self._classes.values():
            pod_class.close()
        self._classes.clear()
        self._facts.clear()
        self._totals.clear()
        self._passing.clear()
