"""Graceful node shutdown: pods end in order before the machine does.

A machine that is about to stop tells the kubelet by SIGPWR (a unit that stops before the runtime's
does it). New pods are refused from then on, the node is not ready, ordinary pods have the first
part of the grace period, critical ones the rest. Nothing happens without a configured period.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator, Sequence

from kybern.api.errors import Obj
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.eviction.ranking import DISRUPTION_REASON
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.worker import Ending
from kybern.kubelet.pods.workers import PodWorkers

logger = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
PROBLEM = "node is shutting down"


class Shutdown:
    """One node's; ``grace`` is in seconds for all pods, ``critical`` the part of it that critical
    ones have to themselves."""

    def __init__(self, workers: PodWorkers, grace: float, critical: float) -> None:
        self._workers = workers
        self._ordinary = max(0.0, grace - critical)
        self._critical = critical
        self.begun = asyncio.Event()

    def judge(self, pod: Obj) -> Refusal | None:
        """No pod begins on a node that ends."""
        if not self.begun.is_set():
            return None
        return Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")

    @property
    def problem(self) -> str:
        """Why the node is not ready; empty if it is."""
        return PROBLEM if self.begun.is_set() else ""

    async def run(self) -> None:
        """Wait for the signal and end all pods, until cancelled."""
        if self._ordinary + self._critical == 0:
            return
        with _on_signal(signal.SIGPWR, self.begun):
            await self.begun.wait()
            await self.end_pods()

    async def end_pods(self) -> None:
        """End ordinary pods, then critical ones; each group no longer than its period."""
        self.begun.set()
        pods = self._active()
        logger.warning("the node is shutting down; %d pods end", len(pods))
        await self._end([pod for pod in pods if not spec.is_critical(pod)], self._ordinary)
        await self._end([pod for pod in pods if spec.is_critical(pod)], self._critical)

    def _active(self) -> list[Obj]:
        return [
            pod
            for pod in self._workers.pods()
            if (worker := self._workers.get(spec.uid(pod))) is not None and worker.active
        ]

    async def _end(self, pods: Sequence[Obj], period: float) -> None:
        for pod in pods:
            grace = min(spec.grace_seconds(pod), int(period))
            ending = Ending(REASON, MESSAGE, grace, DISRUPTION_REASON)
            self._workers.end(spec.uid(pod), ending)
        if not await self._workers.until_ended(map(spec.uid, pods), period):
            logger.warning("pods did not end within %s seconds", period)


@contextlib.contextmanager
def _on_signal(number: signal.Signals, event: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
