"""One pod's use of one volume, as the plugins of persistent volumes see it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kybern.api.errors import Obj
from kybern.kubelet.volumes.ownership import Ownership


@dataclass(frozen=True, slots=True)
class MountedVolume:
    """A volume that is ready for containers: a directory (or file), or a block device."""

    path: Path
    read_only: bool = False
    is_device: bool = False


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


class Plugin(Protocol):
    """A kind of volume that has to be mounted.

    ``target`` is the pod's own place for it. That it exists says that the pod uses the volume; a
    mount at it says that everything is done, so both must survive the kubelet. Calls for one volume
    never overlap.
    """

    directory: str

    async def mount(self, use: Use, target: Path) -> None:
        """Mount the volume at ``target``, which is there; raises VolumeError, OSError."""
        ...

    async def unmount(self, uid: str, name: str, target: Path) -> None:
        """Undo :meth:`mount`, whole or in part, from what is on the disk; remove ``target``."""
        ...

    async def map(self, use: Use, mark: Path) -> Path:
        """The block device of the volume; ``mark`` may be made to remember it."""
        ...

    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        """Undo :meth:`map`; remove ``mark``."""
        ...

    async def grow(self, use: Use, target: Path, size: int, *, is_device: bool) -> None:
        """Let a volume in use have the size that it was given, in bytes."""
        ...
