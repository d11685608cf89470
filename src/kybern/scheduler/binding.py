"""From a decision to a bound pod, in the background: volumes and devices first, then the binding.

The scheduler hands each decision to :class:`Binder` and goes on; ``bound`` or ``failed`` is called
when it is settled. What a decision promises (``promises.py``) is seen as kept at once and taken
back if the pod does not get its node. Extenders that bind do so in the API server's place.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.resources import PODS
from kybern.client import Client
from kybern.client.informer import object_key
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.scheduler.columns.storage import StorageObjects
from kybern.scheduler.extenders.asking import Extenders
from kybern.scheduler.extenders.errors import ExtenderError
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.outbox import Outbox
from kybern.scheduler.plugin import Plugin
from kybern.scheduler.plugins.default_binder import DefaultBinder
from kybern.scheduler.prebind import PreBinder, PreBindError
from kybern.scheduler.promises import Promise, plans_for
from kybern.scheduler.queued_pod import QueuedPod

Obj = dict[str, Any]

logger = logging.getLogger(__name__)

BINDS_AT_ONCE = 64
# Each may wait for minutes until its volumes are provisioned.
PREBINDS_AT_ONCE = 1024
WAITING_CALLS = 1024
PREEMPTED = "preempted by DefaultPreemption"


class Binder:
    """Binds the pods of all profiles; ``bound(queued, node)`` and ``failed(queued, message)`` tell
    what came of it."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        storage: StorageObjects,
        extenders: Extenders | None,
        bound: Callable[[QueuedPod, str], None],
        failed: Callable[[QueuedPod, str], None],
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._now = clock.monotonic
        self._metrics = metrics
        self._extenders = extenders
        self._bound = bound
        self._failed = failed
        self._prebinder = PreBinder(client, clock, storage, metrics)
        self._binds = Outbox("bind", BINDS_AT_ONCE, WAITING_CALLS)
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._prebinds = Outbox("volume binding", PREBINDS_AT_ONCE, WAITING_CALLS)

    def claims_changed(self) -> None:
        """Those who wait for claims look again."""
        self._prebinder.claims_changed()

    async def deallocate(self, claim: Obj) -> None:
        """Give back the devices of a claim that keeps its pod off all nodes."""
        await self._prebinder.deallocate(claim)

    async def delete_claim(self, claim: Obj) -> None:
        """Delete what an earlier attempt left of a claim for extended resources."""
        await self._prebinder.delete(claim)

    def cancel(self, uid: str) -> bool:
        """Take a pod back that is not bound yet, as it waits for volumes or devices; False if there
        is no such pod (any more)."""
        task = self._waiting.pop(uid, None)
        return task is not None and task.cancel(PREEMPTED)

    async def room(self) -> None:
        """Wait until another decision may be handed over."""
        await self._binds.room()
        await self._prebinds.room()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._binds.run(), name="binds")
            group.create_task(self._prebinds.run(), name="volume bindings")

    def add(self, queued: QueuedPod, node: str, row: int, plugins: Mapping[str, Plugin]) -> None:
        """Bind the pod; ``plugins`` are those of its profile, ``row`` is the node's."""
        plan, devices = plans_for(plugins, queued.pod, row)
        if plan or devices is not None or queued.pod["spec"].get("resourceClaims"):
            promise = self._prebinder.assume(plan, devices, node)
            self._prebinds.add(partial(self._prebind, queued, node, promise))
        else:
            self._binds.add(partial(self._bind, queued, node))

    async def _prebind(self, queued: QueuedPod, node: str, promise: Promise) -> None:
        started = self._now()
        work = self._prebinder.run(queued.pod, promise, node)
        task = self._waiting[queued.uid] = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        self._waiting.pop(queued.uid, None)
        error = PreBindError(PREEMPTED) if task.cancelled() else task.exception()
        if isinstance(error, PreBindError):
            self._tell("PreBind", "Error", queued, started)
            logger.info("before binding %s to %s: %s", object_key(queued.pod), node, error)
            self._prebinder.undo(promise)
            self._failed(queued, str(error))
            return
        if error is not None:
            raise error
        self._tell("PreBind", "Success", queued, started)
        self._binds.add(partial(self._bind, queued, node))

    async def _bind(self, queued: QueuedPod, node: str) -> None:
        pod = queued.pod
        meta = pod["metadata"]
        started = self._now()
        try:
            if self._extenders is None or not await self._extenders.bind(pod, node):
                await self._client.create(
                    PODS,
                    DefaultBinder.binding(pod, node),
                    meta["namespace"],
                    name=meta["name"],
                    subresource="binding",
                )
        except ExtenderError as error:
            self._tell("Bind", "Error", queued, started)
            self._failed(queued, str(error))
        except (StatusError, ApiUnreachable, ConnectionError, TimeoutError) as error:
            logger.info("binding %s to %s: %s", object_key(pod), node, error)
            self._tell("Bind", "Error", queued, started)
            self._failed(queued, f'running Bind plugin "DefaultBinder": {error}')
        else:
            self._tell("Bind", "Success", queued, started)
            self._bound(queued, node)

    def _tell(self, point: str, status: str, queued: QueuedPod, started: float) -> None:
        self._metrics.ran(point, status, queued.scheduler_name, self._now() - started)
