"""The pod's fsGroup on a volume: its group may read and write everything in it. Blocks."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from kybern.api.errors import Obj

_READ_WRITE, _READ_ONLY, _ENTER = 0o660, 0o440, 0o110


@dataclass(frozen=True, slots=True)
class Ownership:
    """A pod's group for its volumes; ``lazily`` if a right top directory is proof enough."""

    group: int
    lazily: bool = False

    @classmethod
    def of(cls, pod: Obj) -> "Ownership | None":
        """What the pod asks for, if anything."""
        context = pod["spec"].get("securityContext") or {}
        if (group := context.get("fsGroup")) is None:
            return None
        return cls(int(group), context.get("fsGroupChangePolicy") == "OnRootMismatch")

    def apply(self, root: Path, *, read_only: bool = False) -> None:
        """Give the group to everything at and below ``root``."""
        if self.lazily and self._is_right(root, read_only):
            return
        # The top comes last, so that a change that was cut off is not taken for a whole one.
        for directory, names, files in os.walk(root, topdown=False):
            links = [name for name in names if os.path.islink(os.path.join(directory, name))]
            for name in (*files, *links):
                self._change(os.path.join(directory, name), read_only)
            self._change(directory, read_only)

    def _is_right(self, root: Path, read_only: bool) -> bool:
        found = root.stat()
        return found.st_gid == self.group and found.st_mode == _shared(found.st_mode, read_only)

    def _change(self, path: str, read_only: bool) -> None:
        mode = os.lstat(path).st_mode
        os.lchown(path, -1, self.group)
        if not stat.S_ISLNK(mode):
            os.chmod(path, stat.S_IMODE(_shared(mode, read_only)))


def _shared(mode: int, read_only: bool) -> int:
    """A mode with what the group needs; what is made in a directory later inherits the group."""
    wanted = mode | (_READ_ONLY if read_only else _READ_WRITE)
    return wanted | stat.S_ISGID | _ENTER if stat.S_ISDIR(mode) else wanted
