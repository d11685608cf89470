"""Waits until the cluster has attached a volume, and tells it which volumes this node holds.

The order is what keeps data safe: the node says first that it uses a volume, then looks whether it
is still attached, and mounts only then; the attach/detach controller withdraws a volume from the
Node's ``volumesAttached`` first, then looks whether it is used, and detaches only then.
"""

import asyncio
from collections.abc import Sequence

from kybern.api import objects, volumes
from kybern.api.errors import Obj
from kybern.kubelet.objects import Objects
from kybern.kubelet.volumes.csi.record import Places
from kybern.kubelet.volumes.payloads import VolumeError

PATIENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class Attachments:
    """One node's; what it uses follows from what is on its disk."""

    def __init__(self, objects: Objects, places: Places, node: str) -> None:
        self._objects = objects
        self._places = places
        self._node = node
        self._told: Sequence[str] | None = None
        self._telling = asyncio.Lock()

    async def is_needed(self, driver: str) -> bool:
        """Whether a driver's volumes have to be attached: unless it has said otherwise."""
        found = await self._objects.csi_driver(driver) or {}
        return (found.get("spec") or {}).get("attachRequired") is not False

    async def tell(self) -> None:
        """Say in the Node which volumes are in use, if that has changed."""
        async with self._telling:
            in_use = await asyncio.to_thread(self._places.in_use)
            if in_use != self._told:
                await self._objects.write_volumes_in_use(self._node, in_use)
                self._told = in_use

    async def wait(self, source: Obj) -> None:
        """Return once the volume is attached, and stays so while it is in use."""
        pause, waited = FIRST_PAUSE_SECONDS, 0.0
        while not await self._is_attached(source):
            if waited > PATIENCE_SECONDS:
                raise VolumeError(
                    f"timed out waiting for external-attacher of {source['driver']} CSI driver to "
                    f"attach volume {source['volumeHandle']}"
                )
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _is_attached(self, source: Obj) -> bool:
        attachment = await self._find(source)
        if attachment is None or objects.is_deleting(attachment):
            return False
        status = objects.status(attachment)
        if not status.get("attached"):
            if failure := (status.get("attachError") or {}).get("message"):
                raise VolumeError(failure)
            return False
        name = volumes.csi_volume_name(source)
        attached = await self._objects.volumes_attached(self._node)
        return name in attached

    async def publish_context(self, source: Obj) -> dict[str, str]:
        """What attaching has found out for the driver on the node."""
        if not await self.is_needed(source["driver"]):
            return {}
        attachment = await self._find(source)
        if attachment is None:
            raise VolumeError(f"volume {source['volumeHandle']} is not attached")
        return dict(objects.status(attachment).get("attachmentMetadata") or {})

    async def _find(self, source: Obj) -> Obj | None:
        return await self._objects.volume_attachment(volumes.attachment_name(source, self._node))
