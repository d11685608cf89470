"""The kernel's files of cgroups, of version 1 (a hierarchy per controller) and 2 (one for all).

Paths are those that :mod:`kybern.kubelet.cgroups.names` gives. Everything here blocks. Values of
controllers that the kernel or a parent lacks are passed over, because a pod without a bound is
better than none.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.bounds import CPU_PERIOD, Bounds, Limits, cpu_weight
from kybern.kubelet.pressure import of_cgroup

MOUNT = Path("/sys/fs/cgroup")
# The controllers that a pod's cgroup needs; cpuset is left to the runtime, which fills in the
# parents' cpus that version 1 wants before anything may run.
_V1_CONTROLLERS = ("cpu", "memory", "pids")
# What is killed takes a moment to go; what stays nevertheless is met again in the next round.
_KILL_ROUNDS = 10
_KILL_PAUSE_SECONDS = 0.02
# Version 1 shows "no limit" as the largest number of pages that it can count.
_V1_UNLIMITED = 2**62
# What the kernel answers where a controller is missing or a parent does not hand it down.
_PASSED_OVER = (errno.ENOENT, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class CgroupUsage:
    """What a pod has used: CPU nanoseconds, bytes of memory, processes."""

    cpu: int
    memory: int
    working_set: int
    rss: int
    processes: int


class CgroupFiles:
    """The files below ``mount``."""

    def __init__(self, mount: Path = MOUNT) -> None:
        self._mount = mount
        self.unified = (mount / "cgroup.controllers").exists()

    def hierarchies(self) -> list[Path]:
        """Where cgroup trees are mounted: one on version 2, one per controller on version 1."""
        if self.unified:
            return [self._mount]
        return [
            path
            for path in sorted(self._mount.iterdir())
            if path.name != "unified" and path.is_dir() and not path.is_symlink()
        ]

    def directory(self, path: str, controller: str) -> Path:
        """Where a cgroup has the files of one controller."""
        mount = self._mount if self.unified else self._mount / controller
        return mount / path.lstrip("/")

    def inside(self, path: str) -> list[str]:
        """The names of the cgroups directly below one, where memory is counted."""
        return _children(self.directory(path, "memory"))

    def inside_any(self, path: str) -> list[str]:
        """The same in every hierarchy, as often as they are there."""
        trees = self.hierarchies()
        return [name for tree in trees for name in _children(tree / path.lstrip("/"))]

    def exists(self, path: str) -> bool:
        """Whether a cgroup is there, in any hierarchy."""
        return any((tree / path.lstrip("/")).is_dir() for tree in self.hierarchies())

    def make(self, path: str) -> None:
        """Make a cgroup and those above it, with their controllers; harmless if it is there."""
        if not self.unified:
            for controller in _V1_CONTROLLERS:
                if (self._mount / controller).is_dir():
                    self.directory(path, controller).mkdir(parents=True, exist_ok=True)
            return
        directory = self._mount
        for part in Path(path.lstrip("/")).parts:
            # A controller reaches a level only if every level above hands it down.
            for controller in ("cpu", "memory", "pids", "cpuset"):
                _write(directory / "cgroup.subtree_control", f"+{controller}", errno.EINVAL)
            directory = directory / part
            directory.mkdir(exist_ok=True)

    def bound(self, path: str, limits: Limits, *passed_over: int) -> None:
        """Set a cgroup's bounds; raises OSError where the kernel refuses, but for some errors."""
        cpu, memory = self.directory(path, "cpu"), self.directory(path, "memory")
        if self.unified:
            values: dict[Path, object] = {
                cpu / "cpu.weight": cpu_weight(limits.shares),
                cpu / "cpu.max": f"{limits.quota or 'max'} {CPU_PERIOD}",
                memory / "memory.max": limits.memory or "max",
            }
        else:
            values = {
                cpu / "cpu.shares": limits.shares,
                cpu / "cpu.cfs_period_us": CPU_PERIOD,
                cpu / "cpu.cfs_quota_us": limits.quota or -1,
                memory / "memory.limit_in_bytes": limits.memory or -1,
            }
        for file, value in values.items():
            _write(file, value, *passed_over)

    def bound_processes(self, path: str, most: int) -> None:
        _write(self.directory(path, "pids") / "pids.max", most)

    def bounds(self, path: str, *, whole_percents: bool = False) -> Bounds | None:
        """What a cgroup holds; None if it is not there."""
        cpu, memory = self.directory(path, "cpu"), self.directory(path, "memory")
        try:
            if self.unified:
                quota = (cpu / "cpu.max").read_text().split()[0]
                limit = (memory / "memory.max").read_text().strip()
                return Bounds(
                    unified=True,
                    weight=int((cpu / "cpu.weight").read_text()),
                    quota=None if quota == "max" else int(quota),
                    memory=None if limit == "max" else int(limit),
                    memory_used=int((memory / "memory.current").read_text()),
                    whole_percents=whole_percents,
                )
            held = int((cpu / "cpu.cfs_quota_us").read_text())
            most = int((memory / "memory.limit_in_bytes").read_text())
            return Bounds(
                unified=False,
                weight=int((cpu / "cpu.shares").read_text()),
                quota=held if held > 0 else None,
                memory=most if most < _V1_UNLIMITED else None,
                memory_used=int((memory / "memory.usage_in_bytes").read_text()),
            )
        except (OSError, ValueError):
            return None

    def usage(self, path: str) -> CgroupUsage | None:
        """What a cgroup has used; None if it is not there."""
        memory = self.memory(path)
        try:
            if self.unified:
                file = self.directory(path, "cpu") / "cpu.stat"
                cpu = _statistics(file)["usage_usec"] * 1000
            else:
                cpu = int((self.directory(path, "cpuacct") / "cpuacct.usage").read_text())
        except (OSError, ValueError, KeyError):
            return None
        if memory is None:
            return None
        used, working_set, rss = memory
        return CgroupUsage(cpu, used, working_set, rss, self.processes(path))

    def memory(self, path: str) -> tuple[int, int, int] | None:
        """Bytes in use, those that cannot be had back at once, and those that are no files."""
        directory = self.directory(path, "memory")
        current, idle, rss = "memory.usage_in_bytes", "total_inactive_file", "total_rss"
        if self.unified:
            current, idle, rss = "memory.current", "inactive_file", "anon"
        try:
            kinds = _statistics(directory / "memory.stat")
            used = int((directory / current).read_text())
            return used, max(used - kinds[idle], 0), kinds[rss]
        except (OSError, ValueError, KeyError):
            return None

    def processes(self, path: str) -> int:
        """How many processes and threads there are; 0 where they are not counted."""
        try:
            return int((self.directory(path, "pids") / "pids.current").read_text())
        except (OSError, ValueError):
            return 0

    def pressure(self, path: str) -> dict[str, Obj]:
        """What a cgroup had to wait for; empty on version 1, which does not watch it."""
        return of_cgroup(self.directory(path, "")) if self.unified else {}

    def end(self, path: str) -> None:
        """Kill every process of a cgroup and of those below it."""
        trees = [hierarchy / path.lstrip("/") for hierarchy in self.hierarchies()]
        for _ in range(_KILL_ROUNDS):
            if not (left := _processes_in(trees)):
                return
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(_KILL_PAUSE_SECONDS)

    def remove(self, path: str) -> None:
        """Remove a cgroup and those below it; what is busy stays for the next round."""
        for hierarchy in self.hierarchies():
            _remove_tree(hierarchy / path.lstrip("/"))


def _remove_tree(directory: Path) -> None:
    """Innermost first."""
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOENT):
                raise


def _children(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []


def _processes_in(trees: Iterable[Path]) -> set[int]:
    """All processes of cgroups and their children."""
    found: set[int] = set()
    for file in (file for tree in trees for file in tree.glob("**/cgroup.procs")):
        try:
            found.update(map(int, file.read_text().split()))
        except OSError:
            # The cgroup has gone meanwhile, and its processes before it.
            continue
    return found


def _statistics(file: Path) -> dict[str, int]:
    """A file of names and numbers."""
    pairs = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number in pairs}


def _write(path: Path, value: object, *also_passed_over: int) -> None:
    """Set one cgroup value; controllers that the kernel or a parent lacks are passed over."""
    try:
        path.write_text(str(value))
    except OSError as error:
        if error.errno not in (*_PASSED_OVER, *also_passed_over):
            raise
