"""NFS volumes, mounted by the node's own ``mount``, for each pod anew."""

import asyncio
from pathlib import Path

from kybern.kubelet.volumes import filesystem, mounting
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import Plugin, Use

_HELPER = "mount.nfs"


class NfsVolumes(Plugin):
    """The plugin ``kubernetes.io/nfs``."""

    directory = "nfs"

    async def mount(self, use: Use, target: Path) -> None:
        await asyncio.to_thread(self._mount, use, target)

    def _mount(self, use: Use, target: Path) -> None:
        source = f"{use.source['server']}:{use.source['path']}"
        options = (*(("ro",) if use.read_only else ()), *use.mount_options)
        if not _kernel_knows_nfs():
            raise VolumeError(f"cannot mount {source}: the kernel of this node has no NFS")
        filesystem.mount(source, target, "nfs", options)

    async def unmount(self, uid: str, name: str, target: Path) -> None:
        await asyncio.to_thread(mounting.take_away, target)

    async def map(self, use: Use, mark: Path) -> Path:
        raise VolumeError("an NFS volume is not a block device")

    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        await asyncio.to_thread(mark.unlink, missing_ok=True)

    async def grow(self, use: Use, target: Path, size: int, *, is_device: bool) -> bool:
        return False


def _kernel_knows_nfs() -> bool:
    """Where NFS is a module, the helper loads it; without it and the helper nothing will."""
    if "nfs" in Path("/proc/filesystems").read_text().split():
        return True
    return any((Path(place) / _HELPER).exists() for place in ("/sbin", "/usr/sbin"))
