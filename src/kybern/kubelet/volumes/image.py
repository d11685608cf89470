"""Image volumes: the content of an image, read-only, as a directory of the pod.

containerd unpacks an image into layers of its snapshotter. A view of the topmost one is mounted
here, which needs nothing of the runtime interface, so it works with versions of containerd that do
not know such volumes. The view belongs to the pod: it goes when the pod's files go, and until then
keeps the layers even if the image is removed.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.images.puller import Puller, Report
from kybern.kubelet.images.reference import with_default_tag
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes import mounting
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.rpc.client import RpcError

PLUGIN = "kubernetes.io~image"


class ImageVolumes:
    """One node's image volumes."""

    def __init__(self, runtime: Runtime, puller: Puller, objects: Objects) -> None:
        self._runtime = runtime
        self._puller = puller
        self._objects = objects
        self._mounted: dict[Path, str] = {}

    def in_use(self) -> Collection[str]:
        """The IDs of the images that pods have mounted."""
        return self._mounted.values()

    async def set_up(self, pod: Obj, volume: Obj, target: Path, report: Report) -> None:
        """Pull the image by its policy and mount it, once.

        Raises StartFailure if there is no image, VolumeError if it cannot be mounted.
        """
        source = volume["image"]
        if await asyncio.to_thread(mounting.is_mount_point, target):
            if target not in self._mounted:
                await self._adopt(source.get("reference", ""), target)
            return
        wanted = {
            "name": volume["name"],
            "image": source.get("reference", ""),
            "imagePullPolicy": source.get("pullPolicy") or "IfNotPresent",
        }
        secrets = await self._objects.pull_secrets(pod)
        image = await self._puller.ensure(pod, wanted, secrets, None, report)
        try:
            mounts = await self._runtime.view_image(_key(spec.uid(pod), volume["name"]), image.id)
        except RpcError as error:
            raise VolumeError(str(error)) from error
        if len(mounts) != 1:
            raise VolumeError(f"the image has {len(mounts)} mounts, and one was expected")
        (mount,) = mounts
        await asyncio.to_thread(
            mounting.mount_view, target, mount.type, mount.source, mount.options
        )
        self._mounted[target] = image.id

    async def _adopt(self, name: str, target: Path) -> None:
        """Find out which image an earlier kubelet has mounted, if it is still there."""
        try:
            image = await self._runtime.image(with_default_tag(name))
        except RpcError as error:
            raise VolumeError(str(error)) from error
        if image is not None:
            self._mounted[target] = image.id

    async def tear_down(self, volumes: Path, uid: str) -> None:
        """Unmount a pod's image volumes and give their views back; ``volumes`` is its directory."""
        for target in await asyncio.to_thread(lambda: sorted((volumes / PLUGIN).glob("*"))):
            if await asyncio.to_thread(mounting.is_mount_point, target):
                await asyncio.to_thread(mounting.unmount, target)
            self._mounted.pop(target, None)
            await self._runtime.remove_view(_key(uid, target.name))
            await asyncio.to_thread(target.rmdir)


def _key(uid: str, volume: str) -> str:
    return f"kybern-image-volume-{uid}-{volume}"
