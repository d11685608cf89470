"""What keeps the node itself well: evictions, image and log clean-up, the end of the machine.

:class:`Guards` makes them, gives those that judge new pods a voice in admission, lets the Node's
status tell what they see, and runs them.
"""

import asyncio

from kybern.api.quantity import Quantity
from kybern.kubelet.config import Config
from kybern.kubelet.eviction.manager import EvictionManager
from kybern.kubelet.eviction.thresholds import IMAGE_FS, Observation
from kybern.kubelet.images import pause
from kybern.kubelet.images.garbage import ImageCollector, Policy
from kybern.kubelet.node.registration import NodeRegistration
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods.log_rotation import LogRotation
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.shutdown import Shutdown


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
        self._shutdown = Shutdown(
            workers, config.shutdown_grace_period, config.shutdown_grace_period_critical_pods
        )
        parts.admission.judges += [self._shutdown.judge, self._eviction.judge]
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
            self._image_disk,
            self._warn,
        )

    async def _reclaim(self) -> None:
        """Give up what no pod needs."""
        await self._workers.remove_ended()
        await self._collector.remove_unused()

    async def _image_disk(self) -> Observation:
        return (await self._eviction.observe())[IMAGE_FS]

    def _warn(self, reason: str, message: str) -> None:
        self._parts.recorder.event(self._parts.facts.reference, "Warning", reason, message)
