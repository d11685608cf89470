"""emptyDir and hostPath volumes. Every function blocks; the manager calls them in threads."""

import os
import stat
from pathlib import Path

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.kubelet.volumes import mounting
from kybern.kubelet.volumes.payloads import VolumeError

_KINDS = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def set_up_empty_dir(path: Path, source: Obj, group: int | None) -> None:
    """An empty directory that anybody may write; on a tmpfs for the medium Memory.

    One that is there already is left as the pod has made it, so it appears in one step: a kubelet
    that dies in between leaves none that lacks the rights.
    """
    mode = 0o777 if group is None else 0o2777
    if source.get("medium") == "Memory":
        path.mkdir(parents=True, exist_ok=True)
        if not mounting.is_mount_point(path):
            limit = source.get("sizeLimit")
            size = Quantity.parse(limit).value() if limit else 0
            mounting.mount_tmpfs(path, mode, group, size)
        return
    if path.is_dir():
        return
    fresh = path.with_name(f"..{path.name}")
    fresh.mkdir(parents=True, exist_ok=True)
    if group is not None:
        os.chown(fresh, -1, group)
    fresh.chmod(mode)
    fresh.rename(path)


def set_up_huge_page_dir(path: Path, page_bytes: int, group: int | None) -> None:
    """A directory whose files are in huge pages, and which anybody may write."""
    path.mkdir(parents=True, exist_ok=True)
    if not mounting.is_mount_point(path):
        mounting.mount_huge_pages(path, 0o777 if group is None else 0o2777, group, page_bytes)


def set_up_memory_dir(path: Path) -> None:
    """A directory whose files never reach a disk."""
    path.mkdir(parents=True, exist_ok=True)
    if not mounting.is_mount_point(path):
        mounting.mount_tmpfs(path, 0o755)


def check_host_path(source: Obj) -> Path:
    """The host's path, made or checked as its type asks."""
    path = Path(source["path"])
    kind = source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not path.exists():
            path.touch(mode=0o644)
        kind = "File"
    if kind:
        matches, shown = _KINDS[kind]
        if not path.exists() or not matches(path.stat().st_mode):
            raise VolumeError(f"hostPath type check failed: {path} is not a {shown}")
    return path
