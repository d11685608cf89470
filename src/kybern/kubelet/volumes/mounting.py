"""Mounts of the node, by the C library: tmpfs, bind, unmount. Every call blocks; use a thread."""

import ctypes
import os
import re
from collections.abc import Sequence
from pathlib import Path

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
_MNT_DETACH = 2

_OCTAL = re.compile(r"\\([0-7]{3})")
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, target: Path) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def mount_tmpfs(target: Path, mode: int, group: int | None = None, size_bytes: int = 0) -> None:
    """A tmpfs at ``target``; without a size it may take half of the machine's memory."""
    options = [f"mode={mode:o}"]
    if group is not None:
        options.append(f"gid={group}")
    if size_bytes:
        options.append(f"size={size_bytes}")
    data = ",".join(options).encode()
    result = _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, data)
    _check(result, target)


def mount_huge_pages(target: Path, mode: int, group: int | None, page_bytes: int) -> None:
    """A file system in huge pages of one size, which its files get where they are mapped."""
    options = [f"mode={mode:o}", f"pagesize={page_bytes}"]
    if group is not None:
        options.append(f"gid={group}")
    data = ",".join(options).encode()
    _check(_libc.mount(b"nodev", os.fsencode(target), b"hugetlbfs", 0, data), target)


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Show ``source`` at ``target`` too, with all that is mounted below it."""
    paths = os.fsencode(source), os.fsencode(target)
    _check(_libc.mount(*paths, None, MS_BIND | MS_REC, None), target)
    if read_only:
        flags = MS_BIND | MS_REMOUNT | MS_RDONLY
        _check(_libc.mount(None, os.fsencode(target), None, flags, None), target)


def mount_view(target: Path, kind: str, source: str, options: Sequence[str]) -> None:
    """Mount what a snapshotter of the runtime describes, read-only."""
    target.mkdir(parents=True, exist_ok=True)
    if kind == "bind":
        bind(Path(source), target, read_only=True)
        return
    data = ",".join(option for option in options if option not in ("ro", "rw")).encode()
    names = os.fsencode(source), os.fsencode(target)
    _check(_libc.mount(*names, kind.encode(), MS_RDONLY, data), target)


def take_away(target: Path) -> None:
    """Unmount and remove a mount point; what is not mounted but has files in it is an error.

    This is the only way in which a place of somebody's data is removed: it cannot remove data.
    """
    while is_mount_point(target):
        unmount(target)
    if target.exists():
        target.rmdir()


def unmount(target: Path) -> None:
    """Detach whatever is mounted there; nothing mounted is no error."""
    result = _libc.umount2(os.fsencode(target), _MNT_DETACH)
    if result != 0 and ctypes.get_errno() not in (2, 22):
        _check(result, target)


def mounted_below(directory: Path) -> list[Path]:
    """Mount points at or below a directory, innermost first."""
    prefix = f"{directory}/"
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            # The kernel writes blanks and backslashes in paths as octal escapes.
            target = _OCTAL.sub(lambda found: chr(int(found[1], 8)), line.split(" ")[4])
            if target == str(directory) or target.startswith(prefix):
                found.append(Path(target))
    return found[::-1]


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly there."""
    return path in mounted_below(path)
