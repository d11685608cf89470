"""Graceful node shutdown: pods end in order before the machine does.

A machine that is about to stop tells the kubelet through logind, which waits for it, or by SIGPWR
where there is no logind (a unit that stops before the runtime's does it). New pods are refused
from then on, the node is not ready, and pods end by priority, the least important first, each group
within its own period. Nothing happens without a configured period.
"""

import asyncio
import contextlib
import logging
import signal
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.eviction.ranking import DISRUPTION_REASON
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.worker import Ending
from kybern.kubelet.pods.workers import PodWorkers

if TYPE_CHECKING:
    from kybern.kubelet.logind import Logind

logger = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
PROBLEM = "node is shutting down"
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Period:
    """The seconds that pods from a priority on have to end, before those of the next one begin."""

    priority: int
    seconds: float


def shutdown_periods(config: Config) -> list[Period]:
    """The configured periods, lowest priority first; raises BadFlag for what makes no sense."""
    whole, critical = config.shutdown_grace_period, config.shutdown_grace_period_critical_pods
    if critical > whole:
        raise BadFlag(
            f"invalid configuration: shutdownGracePeriodCriticalPods {critical:g}s must be <= "
            f"shutdownGracePeriod {whole:g}s"
        )
    for name, value in (("Period", whole), ("PeriodCriticalPods", critical)):
        if value and value < 1:
            raise BadFlag(
                f"invalid configuration: shutdownGrace{name} {value:g}s must be either zero or "
                "otherwise >= 1 sec"
            )
    entries = config.shutdown_grace_period_by_pod_priority
    if entries and whole:
        raise BadFlag(
            "invalid configuration: Cannot specify both shutdownGracePeriodByPodPriority and "
            "shutdownGracePeriod at the same time"
        )
    if not entries:
        pair = [Period(0, whole - critical), Period(spec.CRITICAL_PRIORITY, critical)]
        return pair if whole else []
    try:
        pairs = [entry.partition("=")[::2] for entry in entries]
        return sorted(
            (Period(int(priority), int(seconds)) for priority, seconds in pairs),
            key=lambda period: period.priority,
        )
    except ValueError as error:
        raise BadFlag(f"shutdownGracePeriodByPodPriority: {error}") from None


class Shutdown:
    """One node's; ``tell`` makes an event about the node, ``changed`` has its status written."""

    def __init__(
        self,
        workers: PodWorkers,
        periods: Sequence[Period],
        tell: Callable[[str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._periods = periods
        self._tell = tell
        self._changed = changed
        self._begun = False

    def judge(self, pod: Obj) -> Refusal | None:
        """No pod begins on a node that ends."""
        if not self._begun:
            return None
        return Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")

    @property
    def problem(self) -> str:
        """Why the node is not ready; empty if it is."""
        return PROBLEM if self._begun else ""

    async def run(self) -> None:
        """End all pods whenever the machine is about to stop, until cancelled."""
        if not self._periods:
            return
        told = asyncio.Event()
        with _on_signal(signal.SIGPWR, told):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._heed_signal(told))
                group.create_task(self._heed_logind())

    async def _heed_signal(self, told: asyncio.Event) -> None:
        await told.wait()
        await self.end_pods()

    async def _heed_logind(self) -> None:
        try:
            from kybern.kubelet.logind import open_logind
        except ImportError as error:
            logger.warning("only SIGPWR tells of shutdowns: %s", error)
            return
        known = False
        while True:
            try:
                async with open_logind() as logind:
                    await logind.raise_delay(sum(period.seconds for period in self._periods))
                    known = True
                    await self.follow(logind)
            except OSError as error:
                if not known:
                    logger.warning("only SIGPWR tells of shutdowns: %s", error)
                    return
                logger.warning("shutdowns are not told: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def follow(self, logind: "Logind") -> None:
        """Hold shutdowns up until all pods have ended; returns when the message bus is gone."""
        await logind.watch()
        lock = await logind.inhibit()
        try:
            async for stopping in logind.shutdowns():
                if stopping:
                    await self.end_pods()
                    lock.close()
                else:
                    self._tell("NodeShutdown", "Shutdown manager detected shutdown cancellation")
                    self._begun = False
                    self._changed()
                    lock.close()
                    lock = await logind.inhibit()
        finally:
            lock.close()

    async def end_pods(self) -> None:
        """End all pods, one group after the other; each no longer than its period."""
        self._tell("NodeShutdown", "Shutdown manager detected shutdown event")
        self._begun = True
        self._changed()
        pods = self._active()
        logger.warning("the node is shutting down; %d pods end", len(pods))
        for period, group in by_priority(self._periods, pods):
            await self._end(group, period.seconds)

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


def by_priority(periods: Sequence[Period], pods: Sequence[Obj]) -> list[tuple[Period, list[Obj]]]:
    """The pods of each period that has any; those below all periods belong to the first."""
    bounds = [period.priority for period in periods]
    groups: list[list[Obj]] = [[] for _ in periods]
    for pod in pods:
        priority = pod["spec"].get("priority") or 0
        groups[max(0, bisect_right(bounds, priority) - 1)].append(pod)
    return [(period, group) for period, group in zip(periods, groups, strict=True) if group]


@contextlib.contextmanager
def _on_signal(number: signal.Signals, event: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
