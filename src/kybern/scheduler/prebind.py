"""What must be true before a pod is bound: its volumes are bound, its claims reserved for it.

The scheduler calls ``assume`` with the decision, so that the next one sees what is taken,
and ``run`` in the background; ``run`` raises PreBindError if the pod cannot have the node after
all, and ``undo`` takes the assumptions back.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from kybern.api.errors import StatusError
from kybern.api.objects import key as object_key
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kybern.api.volumes import SELECTED_NODE
from kybern.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.scheduler.columns.storage import StorageObjects
from kybern.scheduler.device_binding import Changes, DeviceBinder, DevicesNotReady
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.plugins.volume_filter import VolumePlan
from kybern.scheduler.pod_status import patch_status
from kybern.scheduler.pod_storage import claim_names, is_fully_bound
from kybern.scheduler.promises import Promise, promise_of

if TYPE_CHECKING:
    from kybern.scheduler.devices.plan import DevicePlan

logger = logging.getLogger(__name__)

Obj = dict[str, Any]

BIND_TIMEOUT_SECONDS = 600.0
FAILURES = (StatusError, ApiUnreachable, ConnectionError, TimeoutError)


class PreBindError(Exception):
    """The pod cannot be bound; the text names the plugin and the cause."""


class PreBinder:
    """Does it for all profiles."""

    def __init__(
        self, client: Client, clock: Clock, storage: StorageObjects, metrics: Metrics
    ) -> None:
        self._client = client
        self._clock = clock
        self._storage = storage
        self._devices = DeviceBinder(client, clock, storage, metrics)
        self._metrics = metrics
        self._changed = Changes()

    def claims_changed(self) -> None:
        """Informers saw a claim change: those who wait look again."""
        self._changed.happened()

    def assume(self, plan: VolumePlan, devices: "DevicePlan | None", node: str) -> Promise:
        """See volumes and devices as taken and nodes as selected from now on."""
        promise = promise_of(plan, devices, node, self._clock)
        for obj in promise.objects:
            self._storage.assume(obj)
        return promise

    def undo(self, promise: Promise) -> None:
        for obj in promise.objects:
            self._storage.forget(obj)

    async def run(self, pod: Obj, promise: Promise, node: str) -> None:
        """Write the promise, wait until all claims are bound, and reserve resource claims."""
        await self._announce(pod, node)
        try:
            if promise.volumes or promise.claims:
                await self._bind_volumes(pod, promise)
        except FAILURES as error:
            self._metrics.volumes_failed()
            cause = str(error) or "context deadline exceeded"
            text = f'running PreBind plugin "VolumeBinding": binding volumes: {cause}'
            raise PreBindError(text) from error
        try:
            if promise.resource_claims or pod["spec"].get("resourceClaims"):
                await self._devices.reserve(pod, promise, self._changed)
        except (*FAILURES, DevicesNotReady) as error:
            await self._give_back(pod)
            cause = str(error) or "claim binding timeout"
            text = f'running PreBind plugin "DynamicResources": {cause}'
            raise PreBindError(text) from error

    async def _announce(self, pod: Obj, node: str) -> None:
        """What makes nodes on demand sees where the pod is going, before it is bound (KEP 5278)."""
        if (pod.get("status") or {}).get("nominatedNodeName") == node:
            return
        try:
            await patch_status(self._client, pod, {"nominatedNodeName": node})
        except FAILURES as error:
            logger.info("nomination of %s: %s", object_key(pod), error)

    async def _give_back(self, pod: Obj) -> None:
        """Free the pod's claims as far as the server can be reached; its controller does it else,
        when the pod is gone."""
        try:
            await self._devices.release(pod)
        except FAILURES as error:
            logger.info("claims of %s stay reserved: %s", object_key(pod), error)

    async def deallocate(self, claim: Obj) -> None:
        """Give a claim's devices back; whoever changed it in the meantime knows better."""
        try:
            await self._devices.deallocate(claim)
        except FAILURES as error:
            logger.info("deallocating %s: %s", object_key(claim), error)

    async def delete(self, claim: Obj) -> None:
        """Delete a claim for extended resources; the next attempt tries again what fails."""
        try:
            await self._devices.delete(claim)
        except FAILURES as error:
            logger.info("deleting %s: %s", object_key(claim), error)

    async def _bind_volumes(self, pod: Obj, promise: Promise) -> None:
        for volume in promise.volumes:
            await self._client.update(PERSISTENT_VOLUMES, volume)
        for claim in promise.claims:
            await self._client.update(PERSISTENT_VOLUME_CLAIMS, claim)
        async with asyncio.timeout(BIND_TIMEOUT_SECONDS):
            while not self._are_bound(pod, promise):
                await self._changed.wait()

    def _are_bound(self, pod: Obj, promise: Promise) -> bool:
        namespace = pod["metadata"]["namespace"]
        selected = {claim["metadata"]["name"]: claim for claim in promise.claims}
        for name in claim_names(pod):
            claim = self._storage.claim(namespace, name)
            if claim is None:
                raise PreBindError(f'persistentvolumeclaim "{name}" not found')
            if is_fully_bound(claim):
                continue
            if name in selected and _node_of(claim) != _node_of(selected[name]):
                raise PreBindError(f'selectedNode annotation reset for PVC "{name}"')
            return False
        return True


def _node_of(claim: Obj) -> str:
    return (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE, "")
