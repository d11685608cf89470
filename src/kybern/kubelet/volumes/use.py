"""One pod's use of one volume, as the plugins of persistent volumes see it."""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.pods.failures import StartFailure
from kybern.kubelet.volumes import mounting
from kybern.kubelet.volumes.apart import apart
from kybern.kubelet.volumes.ownership import Ownership


@dataclass(frozen=True, slots=True)
class MountedVolume:
    """A volume that is ready for containers: a directory (or file), or a block device.

    Only an image may still be missing: its ``failure`` is that of the containers that mount it.
    """

    path: Path
    read_only: bool = False
    is_device: bool = False
    failure: StartFailure | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """``name`` is the persistent volume's, or that of a pod's own volume; ``source`` is what the
    plugin knows of it (``spec.local``, ``spec.csi``...)."""

    pod: Obj
    name: str
    source: Obj
    read_only: bool = False
    mount_options: tuple[str, ...] = ()
    access_modes: tuple[str, ...] = ()
    ownership: Ownership | None = None
    is_inline: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """How full a volume is: bytes and inodes."""

    capacity: int
    available: int
    used: int
    inodes: int = 0
    inodes_free: int = 0
    inodes_used: int = 0

    @classmethod
    def of(cls, path: Path) -> "Space":
        """The file system that a path is on. Blocks."""
        found = os.statvfs(path)
        return cls(
            found.f_blocks * found.f_frsize,
            found.f_bavail * found.f_frsize,
            (found.f_blocks - found.f_bfree) * found.f_frsize,
            found.f_files,
            found.f_ffree,
            found.f_files - found.f_ffree,
        )


class Plugin(ABC):
    """A kind of volume that has to be mounted.

    ``target`` is the pod's own place for it. That it exists says that the pod uses the volume; a
    mount at ``mount_point(target)`` says that everything is done, unless a kind has more to do and
    says so in :meth:`is_ready`. Both must survive the kubelet. Apart from :meth:`prepare`, calls
    for one volume never overlap and are never cut off; where pods have nothing of a volume in
    common (``is_shared``), that holds for one pod's place.
    Failures are VolumeError, OSError and StatusError.
    """

    directory: str
    is_shared = True

    def mount_point(self, target: Path) -> Path:
        """Where in the pod's place the volume is mounted."""
        return target

    def is_ready(self, target: Path) -> bool:
        """Whether the volume is mounted and nothing is left to be done. Blocks."""
        return mounting.is_mount_point(self.mount_point(target))

    async def prepare(self, use: Use, target: Path, *, is_device: bool) -> None:
        """What has to be waited for before the volume can be had on this node."""
        return

    @abstractmethod
    async def mount(self, use: Use, target: Path) -> None:
        """Mount the volume in ``target``, which is there."""

    async def refresh(self, use: Use, target: Path) -> None:
        """Called now and then for a volume that is mounted."""
        return

    def hurry(self, target: Path) -> None:
        """Called before :meth:`unmount`, while :meth:`mount` may still be at work: nobody needs
        the volume, so what can be cut off is."""
        return

    @abstractmethod
    async def unmount(self, uid: str, name: str, target: Path) -> None:
        """Undo :meth:`mount`, whole or in part, from what is on the disk; remove ``target``."""

    async def space(self, use: Use, target: Path) -> Space | None:
        """How full a mounted volume is; None if nobody can tell."""
        return await apart(Space.of, self.mount_point(target))

    async def sweep(self) -> None:
        """Called once by a kubelet that starts, before any pod: undo what no pod uses."""
        return

    @abstractmethod
    async def map(self, use: Use, mark: Path) -> Path:
        """The block device of the volume; ``mark`` is made to remember it."""

    @abstractmethod
    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        """Undo :meth:`map`; remove ``mark``."""

    @abstractmethod
    async def grow(self, use: Use, target: Path, size: int, *, is_device: bool) -> bool:
        """Let a volume in use have the size that it was given, in bytes; False if that is not for
        this node to do."""
