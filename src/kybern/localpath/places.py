"""Where volumes are: a directory for each, or an image file whose size is its capacity.

An image's blocks are allocated when it is made, so what was promised is there; the kubelet puts a
file system on it when it mounts it first, or hands it out as a block device. Names come from
claims' UIDs alone, and nothing outside the one directory is ever touched. Every method blocks.
"""

import os
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"pvc-[0-9a-f-]{36}")
IMAGE_SUFFIX = ".img"


class Places:
    """The volumes below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def directory(self, name: str) -> Path:
        return self._root / name

    def image(self, name: str) -> Path:
        return self._root / f"{name}{IMAGE_SUFFIX}"

    def make_directory(self, name: str) -> Path:
        """An empty directory that any user of a pod may write, as nothing else is known of it."""
        path = self.directory(name)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        return path

    def make_image(self, name: str, size: int) -> Path:
        """An image of ``size`` bytes; raises OSError, and leaves nothing, if there is no room."""
        path = self.image(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            partial = path.with_suffix(".partial")
            try:
                _allocate(partial, size)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            partial.rename(path)
        return path

    def grow(self, name: str, size: int) -> None:
        """Give an image ``size`` bytes; it is never made smaller."""
        path = self.image(name)
        before = path.stat().st_size
        if before >= size:
            return
        try:
            _allocate(path, size)
        except OSError:
            os.truncate(path, before)
            raise

    def is_image(self, name: str) -> bool:
        return self.image(name).exists()

    def wipe(self, name: str) -> None:
        """Remove a volume and all that is in it; one that is gone already is no error."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a volume that was made here")
        self.image(name).unlink(missing_ok=True)
        self.image(name).with_suffix(".partial").unlink(missing_ok=True)
        if self.directory(name).exists():
            shutil.rmtree(self.directory(name))


def _allocate(path: Path, size: int) -> None:
    """Reserve blocks up to ``size``; a file system that cannot reserve gets them written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
