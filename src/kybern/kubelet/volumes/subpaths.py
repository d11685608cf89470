"""A part of a volume as a container's mount, so that nobody in the volume can make it another one.

Whoever writes a volume can replace a directory by a symlink at any moment, also between a look and
the runtime's mount. So the way down is opened step by step without following links, and what was
opened is bound to a place that only the kubelet can reach; the runtime mounts that. Blocks.
"""

import os
import stat
from pathlib import Path

from kybern.kubelet.volumes import mounting
from kybern.kubelet.volumes.payloads import VolumeError


def bind(volume: Path, sub_path: str, place: Path) -> Path:
    """Show ``sub_path`` of a volume at ``place``; directories that are missing are made."""
    descriptor = open_within(volume, sub_path)
    try:
        wanted = os.fstat(descriptor)
        if mounting.is_mount_point(place):
            if os.path.samestat(wanted, place.stat()):
                return place
            # The part was made anew since the container's last start.
            mounting.unmount(place)
        _make_place(place, is_directory=stat.S_ISDIR(wanted.st_mode))
        mounting.bind(Path(f"/proc/self/fd/{descriptor}"), place)
    finally:
        os.close(descriptor)
    return place


def open_within(volume: Path, sub_path: str) -> int:
    """A descriptor of a part of a volume; a way that leads out of it is refused."""
    if sub_path.startswith("/") or ".." in Path(sub_path).parts:
        raise VolumeError(f"subPath {sub_path} must be a relative path inside the volume")
    root = volume.resolve()
    target = (root / sub_path).resolve()
    if target != root and root not in target.parents:
        raise VolumeError(f"subPath {sub_path} leads out of the volume")
    descriptor = os.open(root, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    for part in target.relative_to(root).parts:
        try:
            below = _step(descriptor, part, mode)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _step(directory: int, name: str, mode: int) -> int:
    """Open an entry of a directory, made with the volume's mode if it is missing."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        os.mkdir(name, 0o750, dir_fd=directory)
        descriptor = os.open(name, flags, dir_fd=directory)
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VolumeError(f"{name} in subPath became a symlink")
    return descriptor


def _make_place(place: Path, *, is_directory: bool) -> None:
    """An empty file or directory to mount on, in place of what an earlier start left."""
    place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    if is_directory:
        place.mkdir(mode=0o750)
    else:
        place.touch(mode=0o640)
