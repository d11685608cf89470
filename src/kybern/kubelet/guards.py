"""What keeps the node itself well: evictions, image and log clean-up, the end of the machine.

:class:`Guards` makes them, gives those that judge new pods a voice in admission, ends the pods that
a critical one needs the room of, lets the Node's status tell what they see, and runs them.
"""

import asyncio
import logging

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.kubelet.admission import preemption
from kybern.kubelet.config import Config
from kybern.kubelet.eviction.alarm import MemoryAlarm
from kybern.kubelet.eviction.manager import EvictionManager
from kybern.kubelet.eviction.ranking import DISRUPTION_REASON
from kybern.kubelet.eviction.thresholds import IMAGE_FS, Observation
from kybern.kubelet.images import pause
from kybern.kubelet.images.garbage import ImageCollector, Policy
from kybern.kubelet.node.registration import NodeRegistration
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.log_rotation import LogRotation
from kybern.kubelet.pods.worker import Ending
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.shutdown import Shutdown, shutdown_periods

logger = logging.getLogger(__name__)

# A preempted pod that takes longer than half again its grace is no longer waited for.
PREEMPTION_PATIENCE = 1.5
LEAST_PATIENCE_SECONDS = 10.0


class Guards:
    """One node's."""

    def __init__(
        self, parts: Parts, workers: PodWorkers, registration: NodeRegistration, config: Config
    ) -> None:
        self._parts = parts
        self._workers = workers
        self._config = config
        self._collector = self._make_collector()
        self._eviction = EvictionManager(
            parts,
            workers,
            config.thresholds(),
            config.eviction_pressure_transition_period,
            config.eviction_max_pod_grace_period,
            self._reclaim,
        )
        if config.kernel_memcg_notification:
            self._eviction.alarm = MemoryAlarm(parts.cgroups)
        self._shutdown = Shutdown(workers, shutdown_periods(config), self._tell, registration.wake)
        parts.admission.judges += [self._shutdown.judge, self._eviction.judge]
        parts.admission.preempt = self._preempt
        registration.pressures = lambda: self._eviction.conditions
        registration.shutdown = lambda: self._shutdown.problem

    async def run(self) -> None:
        """Guard the node until cancelled."""
        size = Quantity.parse(self._config.container_log_max_size).value()
        files = self._config.container_log_max_files
        logs = LogRotation(self._parts.runtime, self._parts.clock, size, files)
        async with asyncio.TaskGroup() as group:
            group.create_task(logs.run())
            group.create_task(self._eviction.run())
            group.create_task(self._collector.run())
            group.create_task(self._shutdown.run())

    def _make_collector(self) -> ImageCollector:
        policy = Policy(
            self._config.image_gc_high_threshold,
            self._config.image_gc_low_threshold,
            self._config.minimum_image_ttl_duration,
            self._config.image_maximum_gc_age,
        )
        return ImageCollector(
            self._parts.runtime,
            self._parts.clock,
            policy,
            (pause.REFERENCE,),
            self._parts.volumes.images_in_use,
            self._image_disk,
            self._warn,
            self._parts.puller.records.keep_only,
        )

    async def _preempt(self, pods: list[Obj]) -> None:
        """End pods in favour of a critical one, and wait until they have given all back."""
        for pod in pods:
            logger.warning("preempting pod %s", spec.full_name(pod))
            self._parts.report(pod, None, "Warning", preemption.REASON, preemption.MESSAGE)
            ending = Ending(
                preemption.REASON,
                preemption.MESSAGE,
                disruption=DISRUPTION_REASON,
                disruption_message=preemption.DISRUPTION_MESSAGE,
            )
            self._workers.end(spec.uid(pod), ending)
        patience = PREEMPTION_PATIENCE * max(spec.grace_seconds(pod) for pod in pods)
        patience = max(patience, LEAST_PATIENCE_SECONDS)
        if not await self._workers.until_ended(map(spec.uid, pods), patience):
            logger.warning("preempted pods are not gone after %s seconds", patience)

    async def _reclaim(self) -> None:
        """Give up what no pod needs."""
        await self._workers.remove_ended()
        await self._collector.remove_unused()

    async def _image_disk(self) -> Observation:
        return (await self._eviction.observe())[IMAGE_FS]

    def _tell(self, reason: str, message: str) -> None:
        self._parts.recorder.event(self._parts.facts.reference, "Normal", reason, message)

    def _warn(self, reason: str, message: str) -> None:
        self._parts.recorder.event(self._parts.facts.reference, "Warning", reason, message)
