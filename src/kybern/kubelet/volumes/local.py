"""Local persistent volumes: a directory, a disk, or an image file of this node.

A directory is bound to the pod's place. A disk or an image with a file system is mounted once, at
``plugins/kubernetes.io/local-volume/mounts/NAME``, and from there bound to each pod; the last pod
takes it away. As a block device a disk is handed out as it is, an image through a loop device.
Images are more than upstream's kubelet knows; the built-in storage class makes them.
"""

import asyncio
import os
import stat
from pathlib import Path

from kybern.kubelet.paths import Paths
from kybern.kubelet.volumes import filesystem, loop, mounting
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import Plugin, Use


class LocalVolumes(Plugin):
    """The plugin ``kubernetes.io/local-volume``."""

    directory = "local-volume"

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    async def mount(self, use: Use, target: Path) -> None:
        await asyncio.to_thread(self._mount, use, target)

    def _mount(self, use: Use, target: Path) -> None:
        source = Path(use.source["path"])
        mode = _mode(source)
        if not stat.S_ISDIR(mode):
            source = self._stage(use, source, is_image=stat.S_ISREG(mode))
        if use.ownership is not None and not use.read_only:
            use.ownership.apply(source)
        mounting.bind(source, target, read_only=use.read_only)

    def _stage(self, use: Use, source: Path, *, is_image: bool) -> Path:
        """The one mount of a disk or an image on this node."""
        staged = self._staged(use.name)
        staged.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not mounting.is_mount_point(staged):
            kind = use.source.get("fsType") or ""
            filesystem.prepare(source, kind, read_only=use.read_only)
            options = ("loop", *use.mount_options) if is_image else use.mount_options
            filesystem.mount(source, staged, options=options)
        return staged

    async def unmount(self, uid: str, name: str, target: Path) -> None:
        await asyncio.to_thread(self._unmount, name, target)

    def _unmount(self, name: str, target: Path) -> None:
        while mounting.is_mount_point(target):
            mounting.unmount(target)
        staged = self._staged(name)
        others = [user for user in self._paths.users(self.directory, name) if user != target]
        if staged.exists() and not others:
            mounting.take_away(staged)
        # Last, so that what could not be undone is tried again.
        mounting.take_away(target)

    async def sweep(self) -> None:
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        for staged in sorted((self._paths.plugin(self.directory) / "mounts").glob("*")):
            if not self._paths.users(self.directory, staged.name):
                mounting.take_away(staged)

    async def map(self, use: Use, mark: Path) -> Path:
        return await asyncio.to_thread(self._map, use, mark)

    def _map(self, use: Use, mark: Path) -> Path:
        source = Path(use.source["path"])
        mode = _mode(source)
        if stat.S_ISDIR(mode):
            raise VolumeError(f"{source} is a directory and not a block device")
        if not mark.is_symlink():
            mark.symlink_to(source)
        return source if stat.S_ISBLK(mode) else loop.attach(source)

    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        await asyncio.to_thread(self._unmap, name, mark)

    def _unmap(self, name: str, mark: Path) -> None:
        source = Path(os.readlink(mark)) if mark.is_symlink() else None
        others = [
            found for found in self._paths.device_users(self.directory, name) if found != mark
        ]
        if source is not None and not others and source.is_file():
            loop.detach(source)
        mark.unlink(missing_ok=True)

    async def grow(self, use: Use, target: Path, size: int, *, is_device: bool) -> bool:
        await asyncio.to_thread(self._grow, use, is_device)
        return True

    def _grow(self, use: Use, is_device: bool) -> None:
        source = Path(use.source["path"])
        mode = _mode(source)
        if stat.S_ISDIR(mode):
            return
        if not is_device:
            filesystem.grow(self._staged(use.name))
        elif stat.S_ISREG(mode):
            loop.grow(source)

    def _staged(self, name: str) -> Path:
        return self._paths.plugin(self.directory) / "mounts" / name


def _mode(source: Path) -> int:
    try:
        mode = source.stat().st_mode
    except FileNotFoundError:
        raise VolumeError(f'path "{source}" does not exist') from None
    if stat.S_ISDIR(mode) or stat.S_ISBLK(mode) or stat.S_ISREG(mode):
        return mode
    raise VolumeError(f"{source} is neither a directory nor a block device nor an image")
