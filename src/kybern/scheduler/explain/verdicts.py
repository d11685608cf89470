"""What is remembered of decisions, for those who ask later.

The scheduler notes every outcome; the newest of up to ``LIMIT`` pods stay. A score table costs more
than the decision it tells of, so tables are made within an allowance of the scheduler's time: every
decision of a calm cluster has one, and in a storm of pods most have none, which ``explainer.py``
then computes anew.
"""

import logging
from collections import OrderedDict
from typing import Any

from kybern.api.objects import key as object_key
from kybern.component.clock import Clock
from kybern.scheduler.allowance import Allowance
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.explain.candidates import Ranking, rank
from kybern.scheduler.queued_pod import QueuedPod

Obj = dict[str, Any]

logger = logging.getLogger(__name__)

LIMIT = 10_000
# The part of the scheduler's time that may go into score tables, and how much may be saved up.
TABLES_SHARE = 0.01
TABLES_SAVED_SECONDS = 0.003
# Where a table would ask costly filters about more nodes than this, none is made.
COSTLY_NODES = 200


class Verdict:
    """One pod's last outcomes; times are seconds since the epoch, 0 for what never happened."""

    __slots__ = (
        "attempts",
        "failed_at",
        "failure",
        "node",
        "nominated",
        "placed_at",
        "ranking",
    )

    def __init__(self) -> None:
        self.attempts = 0
        self.node = ""
        self.nominated = False
        self.placed_at = 0.0
        self.ranking: Ranking | None = None
        self.failed_at = 0.0
        self.failure = ""


class Verdicts:
    """The last outcomes by the uid of the pod; the least recent go first."""

    def __init__(self, clock: Clock, limit: int = LIMIT) -> None:
        self._clock = clock
        self._limit = limit
        self._allowance = Allowance(clock.monotonic, TABLES_SHARE, TABLES_SAVED_SECONDS)
        self._by_uid: OrderedDict[str, Verdict] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_uid)

    def get(self, uid: str) -> Verdict | None:
        return self._by_uid.get(uid)

    def placed(self, queued: QueuedPod, placement: Placement, decider: Decider) -> None:
        """The pod gets a node. To be called while the columns are as they were decided on."""
        verdict = self._of(queued)
        verdict.node = placement.node
        verdict.placed_at = self._clock.time()
        verdict.ranking = None
        status = queued.pod.get("status") or {}
        verdict.nominated = status.get("nominatedNodeName") == placement.node
        if _is_cheap(queued.pod, decider) and self._allowance.is_left:
            try:
                verdict.ranking = rank(decider, queued.pod, placement.row)
            except Exception:
                # The decision stands, whatever is wrong with the table.
                logger.exception("ranking the nodes for %s failed", object_key(queued.pod))
            self._allowance.spend()

    def failed(self, queued: QueuedPod, message: str) -> None:
        """No node would do, or something went wrong."""
        verdict = self._of(queued)
        verdict.failed_at = self._clock.time()
        verdict.failure = message

    def _of(self, queued: QueuedPod) -> Verdict:
        uid = queued.uid
        verdict = self._by_uid.get(uid)
        if verdict is None:
            verdict = self._by_uid[uid] = Verdict()
            if len(self._by_uid) > self._limit:
                self._by_uid.popitem(last=False)
        else:
            self._by_uid.move_to_end(uid)
        verdict.attempts = queued.attempts
        return verdict


def _is_cheap(pod: Obj, decider: Decider) -> bool:
    filters = decider.pod_class(pod).late_filters
    is_small = decider.cluster.nodes.node_count <= COSTLY_NODES
    return is_small or not any(node_filter.is_costly for _, node_filter in filters)
