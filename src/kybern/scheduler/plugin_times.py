"""What single plugins cost, by sample.

A decision reads what plugins said of nodes earlier, so there is no call of theirs to time. Of every
tenth decision, as upstream samples, and within an allowance of the scheduler's time, all filters
and scores of the pod's class judge all nodes once more and are timed.
"""

import logging

import numpy as np

from kybern.api.objects import key as object_key
from kybern.component.clock import Clock
from kybern.scheduler.allowance import Allowance
from kybern.scheduler.columns.column import Rows
from kybern.scheduler.decision import Decider
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.plugin import Obj
from kybern.scheduler.pod_class import PodClass

logger = logging.getLogger(__name__)

ONE_IN = 10
SHARE = 0.005
SAVED_SECONDS = 0.003


class PluginTimes:
    """Samples the decisions of all profiles."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._now = clock.monotonic
        self._metrics = metrics
        self._allowance = Allowance(clock.monotonic, SHARE, SAVED_SECONDS)
        self._decisions = 0

    def decided(self, decider: Decider, pod: Obj) -> None:
        """A pod was tried. To be called while the columns are as they were decided on."""
        self._decisions += 1
        if self._decisions % ONE_IN != 1 or not self._allowance.is_left:
            return
        try:
            self._sample(decider, decider.pod_class(pod))
        except Exception:
            # The decision stands, whatever a plugin says when it is asked again.
            logger.exception("timing the plugins for %s failed", object_key(pod))
        self._allowance.spend()

    def _sample(self, decider: Decider, pod_class: PodClass) -> None:
        if pod_class.confinements:
            return
        profile = decider.profile.name
        started = self._now()
        rows = np.flatnonzero(decider.cluster.nodes.alive.values)
        for name, node_filter in pod_class.filters:
            since = self._now()
            if node_filter.is_costly:
                # A decision asks it about few nodes, too.
                rows = rows[:1]
            rows = rows[node_filter.feasible(rows)]
            status = "Success" if len(rows) else "Unschedulable"
            self._metrics.ran_plugin(name, "Filter", status, self._now() - since)
            if not len(rows):
                break
        self._metrics.ran("Filter", "Success", profile, self._now() - started)
        if len(rows) > 1:
            started = self._now()
            self._time_scores(pod_class, rows)
            self._metrics.ran("Score", "Success", profile, self._now() - started)

    def _time_scores(self, pod_class: PodClass, rows: Rows) -> None:
        for weighted in pod_class.scores:
            since = self._now()
            raw = weighted.score.raw(rows)
            self._metrics.ran_plugin(weighted.plugin, "Score", "Success", self._now() - since)
            if weighted.score.normalises:
                since = self._now()
                weighted.score.normalised(raw, rows)
                point = "ScoreExtensionNormalize"
                self._metrics.ran_plugin(weighted.plugin, point, "Success", self._now() - since)
