"""The preemptor: evicts the victims that a search found, so that a pending pod gets their room.

The scheduler calls ``preempt`` right after a failed decision; the API calls run in the background.
Until they are done the pod does not preempt again. Victims first get the DisruptionTarget
condition, then they are deleted; those that are not bound yet go back to the queue (``cancel``
says whether it did so with a pod). Lower nominations on the node no longer hold and are cleared.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.resources import PODS
from kybern.client import Client, SeriesRecorder
from kybern.client.informer import object_key
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.scheduler.metrics import FAILURE, SUCCESS, Metrics
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.outbox import Outbox
from kybern.scheduler.pod_status import patch_status
from kybern.scheduler.preemption_search import Candidate
from kybern.scheduler.queue import SchedulingQueue

Obj = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Preemption:
    """One that is being carried out."""

    victims_left: int
    started: float
    result: str = SUCCESS


class Preemptor:
    """Carries out preemptions for all profiles."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        outbox: Outbox,
        nominations: Nominations,
        queue: SchedulingQueue,
        metrics: Metrics,
        cancel: Callable[[str], bool],
    ) -> None:
        self._client = client
        self._clock = clock
        self._outbox = outbox
        self._nominations = nominations
        self._queue = queue
        self._metrics = metrics
        self._cancel = cancel
        self._running: dict[str, _Preemption] = {}

    def is_preempting(self, uid: str) -> bool:
        """Evictions for this pod are still being sent."""
        return uid in self._running

    def preempt(self, pod: Obj, candidate: Candidate, recorder: SeriesRecorder) -> None:
        """Evict the candidate's victims; those already terminating are left alone."""
        priority = pod["spec"].get("priority") or 0
        for other in self._nominations.on_node(candidate.node):
            if (other["spec"].get("priority") or 0) < priority:
                self._nominations.remove(other["metadata"]["uid"])
                self._outbox.add(partial(self._clear_nomination, other))
        victims = [v.obj for v in candidate.victims if "deletionTimestamp" not in v.obj["metadata"]]
        if not victims:
            return
        uid = pod["metadata"]["uid"]
        self._running[uid] = _Preemption(len(victims), self._clock.monotonic())
        self._metrics.preempted(len(candidate.victims))
        for victim in victims:
            self._outbox.add(partial(self._evict, victim, pod, candidate.node, recorder))

    async def _evict(self, victim: Obj, pod: Obj, node: str, recorder: SeriesRecorder) -> None:
        meta, uid = victim["metadata"], pod["metadata"]["uid"]
        message = f"Preempted by pod {uid} on node {node}"
        try:
            if self._cancel(meta["uid"]):
                # It has not begun to run, and waits in the queue again.
                message += " (in kube-scheduler memory)."
                recorder.event(victim, "Normal", "Preempted", "Preempting", message, related=pod)
                return
            condition = self._condition(victim, pod)
            await patch_status(self._client, victim, {"conditions": [condition]})
            await self._client.delete(PODS, meta["name"], meta["namespace"], uid=meta["uid"])
            recorder.event(victim, "Normal", "Preempted", "Preempting", message, related=pod)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                logger.warning("preempting %s: %s", object_key(victim), error)
                self._failed(uid)
        except (ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.warning("preempting %s: %s", object_key(victim), error)
            self._failed(uid)
        finally:
            self._evicted(uid)

    def _failed(self, uid: str) -> None:
        self._running[uid].result = FAILURE
        self._queue.activate(uid)

    def _evicted(self, uid: str) -> None:
        running = self._running[uid]
        running.victims_left -= 1
        if not running.victims_left:
            del self._running[uid]
            seconds = self._clock.monotonic() - running.started
            self._metrics.evicted(running.result, seconds)

    async def _clear_nomination(self, pod: Obj) -> None:
        try:
            await patch_status(self._client, pod, {"nominatedNodeName": None})
        except (StatusError, ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.warning("nomination of %s: %s", object_key(pod), error)

    def _condition(self, victim: Obj, pod: Obj) -> Obj:
        scheduler = pod["spec"].get("schedulerName") or "default-scheduler"
        condition: Obj = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{scheduler}: preempting to accommodate a higher priority pod",
            "lastProbeTime": None,
            "lastTransitionTime": self._clock.timestamp(),
        }
        if generation := victim["metadata"].get("generation"):
            condition["observedGeneration"] = generation
        return condition
