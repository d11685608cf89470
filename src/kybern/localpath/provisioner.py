"""Makes, grows and wipes one node's volumes as claims and volumes ask for it.

Keys of claims (``namespace/name``) and of volumes (``name``) share a queue with one worker. The
place is made before the volume that names it, and wiped before the volume is deleted, so that
whatever is cut short is done again: names follow from the claim.
"""

import asyncio
import logging

from kybern.api import claim_growth, objects, volumes
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from kybern.client import ApiUnreachable, Client, EventRecorder, Informers, WorkQueue
from kybern.component.clock import Clock
from kybern.localpath.places import Places
from kybern.localpath.volume import (
    FINALIZER,
    NAME,
    is_asked,
    is_of,
    is_to_go,
    name_for,
    problem,
    volume_for,
    wants_image,
)

logger = logging.getLogger(__name__)


class Provisioner:
    """One node's; ``hostname`` is the node's label of that name."""

    def __init__(
        self, client: Client, clock: Clock, places: Places, node: str, hostname: str
    ) -> None:
        self._client = client
        self._clock = clock
        self._places = places
        self._node = node
        self._hostname = hostname
        self._informers = Informers(client)
        self._claims = self._informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = self._informers.informer(PERSISTENT_VOLUMES)
        self._classes = self._informers.informer(STORAGE_CLASSES)
        self._recorder = EventRecorder(client, clock, f"{NAME}_{node}")
        self._queue = WorkQueue(max_delay=60.0)

    async def run(self) -> None:
        """Work until cancelled."""
        self._claims.on_change(lambda old, new: self._look(new))
        self._volumes.on_change(lambda old, new: self._look(new))
        try:
            await self._informers.start()
            while True:
                key = await self._queue.get()
                try:
                    await self._reconcile(key)
                    self._queue.forget(key)
                except (StatusError, ApiUnreachable, OSError) as error:
                    expected = isinstance(error, StatusError) and error.code in (404, 409)
                    logger.log(logging.DEBUG if expected else logging.WARNING, "%s: %s", key, error)
                    self._queue.add_rate_limited(key)
                finally:
                    self._queue.done(key)
        finally:
            self._queue.close()
            await self._recorder.close()
            await self._informers.stop()

    def _look(self, obj: Obj | None) -> None:
        if obj is None:
            return
        if objects.namespace(obj) or is_of(obj, self._hostname):
            self._queue.add(objects.key(obj))

    async def _reconcile(self, key: str) -> None:
        if "/" not in key:
            volume = self._volumes.get(key)
            if volume is not None:
                await self._reclaim(volume)
            return
        claim = self._claims.get(key)
        if claim is None:
            return
        if is_asked(claim, self._node):
            await self._provision(claim)
        elif name := claim["spec"].get("volumeName"):
            volume = self._volumes.get(name)
            if volume is not None and is_of(volume, self._hostname):
                await self._grow(claim, volume)

    async def _provision(self, claim: Obj) -> None:
        if self._volumes.get(name_for(claim)) is not None:
            return
        storage_class = self._classes.get(volumes.storage_class(claim))
        if storage_class is None:
            return
        if reason := problem(claim, storage_class):
            self._tell_failure(claim, reason)
            return
        text = f'External provisioner is provisioning volume for claim "{objects.key(claim)}"'
        self._recorder.event(claim, "Normal", "Provisioning", text)
        name = name_for(claim)
        try:
            if wants_image(claim, storage_class):
                size = volumes.requested(claim).value()
                path = await asyncio.to_thread(self._places.make_image, name, size)
            else:
                path = await asyncio.to_thread(self._places.make_directory, name)
        except OSError as error:
            self._tell_failure(claim, error.strerror or str(error))
            await self._give_back(claim)
            return
        volume = volume_for(claim, storage_class, str(path), self._hostname)
        try:
            made = await self._client.create(PERSISTENT_VOLUMES, volume)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            return
        text = f"Successfully provisioned volume {name}"
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", text)
        await self._volumes.reached(objects.resource_version(made))

    def _tell_failure(self, claim: Obj, reason: str) -> None:
        found = volumes.storage_class(claim)
        text = f'failed to provision volume with StorageClass "{found}": {reason}'
        self._recorder.event(claim, "Warning", "ProvisioningFailed", text)

    async def _give_back(self, claim: Obj) -> None:
        """This node has no room: the scheduler may choose another one."""
        kept = {
            key: value
            for key, value in objects.annotations(claim).items()
            if key != volumes.SELECTED_NODE
        }
        metadata = {**claim["metadata"], "annotations": kept}
        await self._client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "metadata": metadata})

    async def _reclaim(self, volume: Obj) -> None:
        name = objects.name(volume)
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        if is_to_go(volume):
            try:
                await asyncio.to_thread(self._places.wipe, name)
            except OSError as error:
                self._recorder.event(volume, "Warning", "VolumeFailedDelete", str(error))
                raise
            if not objects.is_deleting(volume):
                await self._client.delete(PERSISTENT_VOLUMES, name, uid=objects.uid(volume))
                # The change that this makes brings the volume back here, to be let go.
                return
        elif not objects.is_deleting(volume) or policy == "Delete":
            # Its claim may still use it, or it is yet to be wiped.
            return
        if FINALIZER in objects.finalizers(volume):
            left = [one for one in objects.finalizers(volume) if one != FINALIZER]
            metadata = {**volume["metadata"], "finalizers": left}
            await self._client.update(PERSISTENT_VOLUMES, {**volume, "metadata": metadata})

    async def _grow(self, claim: Obj, volume: Obj) -> None:
        name, size = objects.name(volume), volumes.requested(claim)
        if objects.status(claim).get("phase") != "Bound" or size <= volumes.held_capacity(claim):
            return
        is_image = await asyncio.to_thread(self._places.is_image, name)
        if size > volumes.capacity(volume):
            if is_image:
                try:
                    await asyncio.to_thread(self._places.grow, name, size.value())
                except OSError as error:
                    text = f'resize volume "{name}" failed: {error.strerror or error}'
                    self._recorder.event(claim, "Warning", "VolumeResizeFailed", text)
                    raise
            patch = {"spec": {"capacity": {"storage": size.canonical()}}}
            await self._client.patch(PERSISTENT_VOLUMES, name, patch)
        status = (
            claim_growth.awaiting_node(claim, size, self._clock.timestamp())
            if is_image
            else claim_growth.grown(claim, size)
        )
        if status == objects.status(claim):
            return
        await self._client.update_status(PERSISTENT_VOLUME_CLAIMS, {**claim, "status": status})
        if is_image:
            text = "Require file system resize of volume on node"
            self._recorder.event(claim, "Normal", "FileSystemResizeRequired", text)
        else:
            text = "Resize volume succeeded"
            self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", text)
