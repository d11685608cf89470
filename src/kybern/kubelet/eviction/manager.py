"""The loop that watches the node and ends pods, one at a time, when something runs short.

A shortage shows as a node condition at once (``node/registration.py`` reports :attr:`conditions`),
new pods are turned away (:meth:`judge`), and what nobody needs is removed before any pod has to go.
Pods that hold more local storage than they may are evicted whether anything is short or not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from kybern.api.errors import Obj
from kybern.api.node_fit import untolerated
from kybern.component.clock import Clock
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.eviction import ranking
from kybern.kubelet.eviction.alarm import MemoryAlarm
from kybern.kubelet.eviction.ranking import PodUsage
from kybern.kubelet.eviction.signals import Disks, find_disks, observe
from kybern.kubelet.eviction.thresholds import (
    Observations,
    Threshold,
    Watch,
    all_resolved,
)
from kybern.kubelet.eviction.usage import measure
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.worker import Ending
from kybern.kubelet.pods.workers import PodWorkers
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
LEAST_SECONDS = 1.0
# How long the next look waits for the room that an evicted pod gives back.
CLEANUP_SECONDS = 30.0
IMMEDIATE_GRACE = 1
_MEMORY_TAINT = {"key": "node.kubernetes.io/memory-pressure", "value": "", "effect": "NoSchedule"}


class EvictionManager:
    """One node's evictions.

    ``reclaim`` gives up what no pod needs; an ``alarm`` calls between looks.
    """

    def __init__(
        self,
        parts: Parts,
        workers: PodWorkers,
        thresholds: Sequence[Threshold],
        transition: float,
        max_grace: int,
        reclaim: Callable[[], Awaitable[None]],
    ) -> None:
        self._parts = parts
        self._workers = workers
        self._watch = Watch(thresholds, transition)
        self._max_grace = max_grace
        self._reclaim = reclaim
        self._clock: Clock = parts.clock
        self.observe: Callable[[], Awaitable[Observations]] = self._observe_node
        self.alarm: MemoryAlarm | None = None
        self._disks: Disks | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The node's pressure conditions."""
        return self._watch.conditions

    def judge(self, pod: Obj) -> Refusal | None:
        """Whether a node under pressure takes a pod: critical ones, and where only memory is
        short those that request some or tolerate it."""
        conditions = self._watch.conditions
        if not conditions or spec.is_critical(pod):
            return None
        if conditions == ("MemoryPressure",):
            tolerant = not untolerated(pod["spec"], [_MEMORY_TAINT], "NoSchedule")
            if spec.qos_class(pod) != "BestEffort" or tolerant:
                return None
        shown = " ".join(conditions)
        return Refusal(ranking.REASON, f"The node had condition: [{shown}]. ")

    async def run(self) -> None:
        """Look, act, and look again, until cancelled."""
        try:
            await self._keep_looking()
        finally:
            if self.alarm is not None:
                self.alarm.close()

    async def _keep_looking(self) -> None:
        while True:
            evicted: list[str] = []
            try:
                evicted = await self.look()
            except (RpcError, OSError) as error:
                logger.warning("the node's resources were not judged: %s", error)
            if evicted:
                if not await self._workers.until_ended(evicted, CLEANUP_SECONDS):
                    logger.warning("evicted pods are not gone after %s seconds", CLEANUP_SECONDS)
            elif self.alarm is not None:
                # Use that wavers about a bound does not keep the node busy looking.
                await asyncio.sleep(LEAST_SECONDS)
                await self.alarm.wait(LOOK_SECONDS - LEAST_SECONDS)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> list[str]:
        """One look; the UIDs of the pods that were evicted."""
        observations = await self.observe()
        if self.alarm is not None:
            self.alarm.arm(self._watch.thresholds, observations)
        due = self._watch.look(observations, self._clock.monotonic())
        pods = self._active()
        if evicted := await self._evict_above_limits(pods):
            return evicted
        if not due:
            return []
        threshold = due[0]
        self._parts.recorder.event(
            self._parts.facts.reference,
            "Warning",
            "EvictionThresholdMet",
            f"Attempting to reclaim {threshold.resource}",
        )
        if threshold.resource not in ("memory", "pids"):
            await self._reclaim()
            if all_resolved(self._watch.thresholds, await self.observe()):
                return []
        return await self._evict_one(pods, threshold, due, observations)

    def _active(self) -> list[Obj]:
        """Pods that may still have something running, with what they were granted."""
        return [
            self._parts.admission.granted(pod)
            for pod in self._workers.pods()
            if (worker := self._workers.get(spec.uid(pod))) is not None and worker.active
        ]

    async def _evict_above_limits(self, pods: Sequence[Obj]) -> list[str]:
        limited = [pod for pod in pods if ranking.has_storage_limit(pod)]
        if not limited:
            return []
        separate = await self._separate()
        usage = await measure(limited, self._parts)
        evicted = []
        for pod in limited:
            used = usage.get(spec.uid(pod))
            text = ranking.exceeded_limit(pod, used, separate) if used is not None else ""
            if text and not spec.is_critical(pod):
                self._evict(pod, Ending(ranking.REASON, text, IMMEDIATE_GRACE))
                evicted.append(spec.uid(pod))
        return evicted

    async def _evict_one(
        self,
        pods: Sequence[Obj],
        threshold: Threshold,
        due: Sequence[Threshold],
        observations: Observations,
    ) -> list[str]:
        usage = await measure(pods, self._parts)
        for pod in ranking.ranked(pods, threshold, usage, await self._separate()):
            if spec.is_critical(pod):
                logger.warning("a critical pod is not evicted: %s", spec.full_name(pod))
                continue
            used: PodUsage | None = usage.get(spec.uid(pod))
            text = ranking.message(pod, threshold, due, observations, used)
            grace = self._grace(pod, threshold)
            ending = Ending(ranking.REASON, text, grace, ranking.DISRUPTION_REASON)
            self._evict(pod, ending)
            return [spec.uid(pod)]
        logger.warning("no pod is left to evict for %s", threshold.resource)
        return []

    def _grace(self, pod: Obj, threshold: Threshold) -> int:
        """Hard thresholds leave no time; soft ones as much as both sides allow."""
        if threshold.hard:
            return IMMEDIATE_GRACE
        declared = pod["spec"].get("terminationGracePeriodSeconds")
        return self._max_grace if declared is None else min(self._max_grace, int(declared))

    def _evict(self, pod: Obj, ending: Ending) -> None:
        logger.warning("evicting pod %s: %s", spec.full_name(pod), ending.message)
        self._parts.recorder.event(pod, "Warning", ending.reason, ending.message)
        self._workers.end(spec.uid(pod), ending)

    async def _observe_node(self) -> Observations:
        disks = await self._find_disks()
        return await asyncio.to_thread(observe, disks, self._parts.cgroups)

    async def _separate(self) -> bool:
        disks = await self._find_disks()
        return await asyncio.to_thread(lambda: disks.separate)

    async def _find_disks(self) -> Disks:
        if self._disks is None:
            self._disks = await find_disks(self._parts)
        return self._disks
