"""A node's cgroups: everything it runs lives below ``/kybern-ID/NAME`` in every hierarchy.

That makes a node's processes findable and killable as a whole, also those that no parent knows any
more. Serves cgroup v2, v1 and the mixture of both. ``system`` below the node's cgroup is for the
supervisor, containerd and the agent; pods are beside it (the kubelet's ``--cgroup-root``).
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
_SYSTEM = "system"
_PAUSE_SECONDS = 0.01
_KILL_SECONDS = 20.0


def is_unified() -> bool:
    """Whether this machine has cgroup v2 alone."""
    return (MOUNT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """The roots of all hierarchies: one for v2, one a controller set for v1."""
    if is_unified():
        return [MOUNT]
    if not MOUNT.is_dir():
        return []
    return [
        entry
        for entry in sorted(MOUNT.iterdir())
        if entry.is_dir() and not entry.is_symlink() and (entry / "cgroup.procs").exists()
    ]


def join(cgroup: str, process: int = 0) -> None:
    """Move a process (0: this one) into a cgroup, made where it is missing; raises OSError."""
    for root in hierarchies():
        directory = root / cgroup
        directory.mkdir(parents=True, exist_ok=True)
        levels = list(pairwise(_path(root, directory)))
        if not is_unified():
            for parent, child in levels:
                _inherit_cpuset(parent, child)
        (directory / "cgroup.procs").write_text(str(process))
        if is_unified():
            # The process may come from a parent, which has controllers for its children only once
            # it is empty; with some of them and a process it could have no children at all.
            for parent, _ in levels:
                _enable_controllers(parent)


def system_of(cgroup: str) -> str:
    """The cgroup of a node's own processes."""
    return f"{cgroup}/{_SYSTEM}"


def _path(root: Path, directory: Path) -> list[Path]:
    """The directories from the root of a hierarchy down to one of its cgroups."""
    return [*(d for d in reversed(directory.parents) if d.is_relative_to(root)), directory]


def _inherit_cpuset(parent: Path, child: Path) -> None:
    """A new v1 cpuset is empty, and nothing may run in it until it has CPUs and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = child / name
        if file.exists() and not file.read_text().strip():
            file.write_text((parent / name).read_text())


def _enable_controllers(directory: Path) -> None:
    """Hand every v2 controller down; one that cannot be is missing for limits, not for running."""
    for name in (directory / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (directory / "cgroup.subtree_control").write_text(f"+{name}")


def _tree(cgroup: str) -> Iterator[Path]:
    """Every directory of a cgroup in every hierarchy, leaves first."""
    for root in hierarchies():
        top = root / cgroup
        for directory, _, _ in os.walk(top, topdown=False):
            yield Path(directory)


def processes(cgroup: str) -> set[int]:
    """All processes below a cgroup, in any hierarchy."""
    found: set[int] = set()
    for directory in _tree(cgroup):
        with contextlib.suppress(OSError):
            found.update(int(text) for text in (directory / "cgroup.procs").read_text().split())
    # Processes of another process namespace show as 0 and cannot be signalled from here.
    found.discard(0)
    return found


def kill(cgroup: str) -> None:
    """Kill everything below a cgroup and wait until it is gone; raises TimeoutError."""
    deadline = time.monotonic() + _KILL_SECONDS
    while found := processes(cgroup):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(found)} in {cgroup} do not end")
        for directory in _tree(cgroup):
            _thaw(directory)
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def _thaw(directory: Path) -> None:
    """Frozen processes would never die of a signal on v1."""
    for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if (directory / name).exists():
            with contextlib.suppress(OSError):
                (directory / name).write_text(value)


def remove(cgroup: str) -> None:
    """Remove a cgroup without processes, and its parent if that is empty then."""
    deadline = time.monotonic() + _KILL_SECONDS
    for directory in _tree(cgroup):
        while directory.exists():
            try:
                directory.rmdir()
            except OSError:
                # The kernel lets go of a cgroup a moment after its last process has ended.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
    for root in hierarchies():
        with contextlib.suppress(OSError):
            (root / cgroup).parent.rmdir()
