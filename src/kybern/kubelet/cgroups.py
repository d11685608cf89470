"""The tree of cgroups that pods live in: one per quality of service, one per pod below it.

Both cgroup versions are served. A class weighs what its pods asked for together: burstable ones
their requests, best-effort ones next to nothing. The runtime makes the containers' own cgroups
below the pod's and leaves the pod's behind, so the kubelet makes it before the sandbox and removes
it after the pod.
"""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.bounds import (
    CPU_PERIOD,
    MIN_SHARES,
    Bounds,
    Limits,
    cpu_shares,
    cpu_weight,
    pod_bounds,
)
from kybern.kubelet.pods import spec
from kybern.kubelet.pressure import of_cgroup

_MOUNT = Path("/sys/fs/cgroup")
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


class Cgroups:
    """Makes, reads and removes cgroups below ``root`` (``--cgroup-root``) of this machine.

    No pod has more than ``max_pids`` processes (-1: as many as it likes). The kernel ends a whole
    container that is out of memory, or with ``single_oom_kill`` one process of it.
    """

    def __init__(
        self,
        root: str,
        mount: Path = _MOUNT,
        *,
        max_pids: int = -1,
        single_oom_kill: bool = False,
    ) -> None:
        self._root = "/" + root.strip("/") if root.strip("/") else ""
        self._mount = mount
        self._max_pids = max_pids
        self._single_oom_kill = single_oom_kill
        self._weighed = -1
        self.unified = (mount / "cgroup.controllers").exists()

    def parent(self, pod: Obj) -> str:
        """The cgroup path of a pod, as CRI's ``cgroup_parent`` wants it."""
        return self._path(spec.qos_class(pod), spec.uid(pod))

    def _path(self, qos: str, uid: str) -> str:
        return f"{self._class(qos)}/pod{uid}"

    def _class(self, qos: str) -> str:
        return self.root if qos == "Guaranteed" else f"{self.root}/{qos.lower()}"

    @property
    def root(self) -> str:
        """The cgroup above all pods."""
        return f"{self._root}/kubepods"

    async def create(self, pod: Obj) -> None:
        """Make the pod's cgroup and set its bounds; harmless if it is there."""
        await asyncio.to_thread(self._create_pod, self.parent(pod), pod_bounds(pod))

    async def weigh(self, burstable_milli_cpu: int) -> None:
        """Give burstable pods the CPU that they asked for together, best-effort ones the least."""
        if burstable_milli_cpu != self._weighed:
            await asyncio.to_thread(self._weigh, burstable_milli_cpu)
            self._weighed = burstable_milli_cpu

    async def bound(self, pod: Obj, limits: Limits) -> None:
        """Change the bounds of the pod's cgroup; raises OSError where the kernel refuses."""
        await asyncio.to_thread(self._set, self.parent(pod).lstrip("/"), limits)

    async def bound_all(self, limits: Limits) -> None:
        """Bound all pods together; raises OSError where the kernel refuses."""
        await asyncio.to_thread(self._create, self.root, limits)

    async def remove(self, uid: str) -> None:
        """Remove the pod's cgroup with all that the runtime left below it, processes too.

        A runtime that is killed while it makes a container may know nothing of its processes.
        """
        await asyncio.to_thread(self._remove, uid)

    def pod_bounds(self, pod: Obj) -> Bounds | None:
        """What the pod's cgroup holds; None if it is not there."""
        return self._read(self.parent(pod).lstrip("/"))

    def container_bounds(self, uid: str, container_id: str) -> Bounds | None:
        """What a container's cgroup holds; None where the runtime put it somewhere else."""
        for qos in ("Burstable", "BestEffort", "Guaranteed"):
            found = self._read(f"{self._path(qos, uid)}/{container_id}".lstrip("/"))
            if found is not None:
                return found
        return None

    def usage(self, pod: Obj) -> CgroupUsage | None:
        """What the pod as a whole has used; None if its cgroup is not there. Blocks."""
        relative = self.parent(pod).lstrip("/")
        try:
            if self.unified:
                cpu = _statistics(self._mount / relative / "cpu.stat")["usage_usec"] * 1000
            else:
                cpu = int((self._mount / "cpuacct" / relative / "cpuacct.usage").read_text())
            memory, idle, rss = self._memory(relative)
        except (OSError, ValueError, KeyError):
            return None
        return CgroupUsage(cpu, memory, max(memory - idle, 0), rss, self.processes(pod))

    def memory_of_all(self) -> tuple[int, int] | None:
        """The limit of all pods together and their working set; None without a limit. Blocks."""
        relative = self.root.lstrip("/")
        bounds = self._read(relative)
        if bounds is None or bounds.memory is None:
            return None
        try:
            memory, idle, _ = self._memory(relative)
        except (OSError, ValueError, KeyError):
            return None
        return bounds.memory, max(memory - idle, 0)

    def of_containers(self) -> dict[str, str]:
        """What every container's cgroup holds beside its limits: files of version 2 by name."""
        if not self.unified:
            return {}
        settings = {} if self._single_oom_kill else {"memory.oom.group": "1"}
        if (self._mount / self.root.lstrip("/") / "memory.swap.max").exists():
            settings["memory.swap.max"] = "0"
        return settings

    def memory_directory(self, path: str) -> Path | None:
        """Where version 1 counts a cgroup's memory, and tells of it; None on version 2."""
        return None if self.unified else self._mount / "memory" / path.lstrip("/")

    def _memory(self, relative: str) -> tuple[int, int, int]:
        """Bytes of memory in use; of them files that nobody looks at, and what is no file."""
        if self.unified:
            directory = self._mount / relative
            kinds = _statistics(directory / "memory.stat")
            return (
                int((directory / "memory.current").read_text()),
                kinds["inactive_file"],
                kinds["anon"],
            )
        directory = self._mount / "memory" / relative
        kinds = _statistics(directory / "memory.stat")
        return (
            int((directory / "memory.usage_in_bytes").read_text()),
            kinds["total_inactive_file"],
            kinds["total_rss"],
        )

    def pressure(self, pod: Obj) -> dict[str, dict[str, Obj]]:
        """What the pod ("") and each of its containers, by id, had to wait for. Blocks."""
        if not self.unified:
            return {}
        directory = self._mount / self.parent(pod).lstrip("/")
        inside = [path for path in directory.glob("*") if path.is_dir()]
        found = {"": of_cgroup(directory), **{path.name: of_cgroup(path) for path in inside}}
        return {name: pressure for name, pressure in found.items() if pressure}

    def processes(self, pod: Obj) -> int:
        """How many processes and threads the pod has; 0 where they are not counted."""
        controller = self._mount if self.unified else self._mount / "pids"
        try:
            return int((controller / self.parent(pod).lstrip("/") / "pids.current").read_text())
        except (OSError, ValueError):
            return 0

    def pods(self) -> set[str]:
        """UIDs of all pods that have a cgroup here."""
        found: set[str] = set()
        for directory in self.hierarchies():
            base = directory / self.root.lstrip("/")
            for pattern in ("pod*", "burstable/pod*", "besteffort/pod*"):
                found.update(path.name.removeprefix("pod") for path in base.glob(pattern))
        return found

    def hierarchies(self) -> list[Path]:
        """Where cgroup trees are mounted: one on version 2, one per controller on version 1."""
        if self.unified:
            return [self._mount]
        return [
            path
            for path in sorted(self._mount.iterdir())
            if path.name != "unified" and path.is_dir() and not path.is_symlink()
        ]

    def _create_pod(self, path: str, limits: Limits) -> None:
        self._create(path, limits)
        if self._max_pids > 0:
            controller = self._mount if self.unified else self._mount / "pids"
            _write(controller / path.lstrip("/") / "pids.max", self._max_pids)

    def _weigh(self, burstable_milli_cpu: int) -> None:
        for qos, shares in (
            ("Burstable", cpu_shares(burstable_milli_cpu)),
            ("BestEffort", MIN_SHARES),
        ):
            self._create(self._class(qos), Limits(shares, None, None))

    def _create(self, path: str, limits: Limits) -> None:
        relative = path.lstrip("/")
        if self.unified:
            self._create_unified(relative)
        else:
            for controller in _V1_CONTROLLERS:
                if (self._mount / controller).is_dir():
                    (self._mount / controller / relative).mkdir(parents=True, exist_ok=True)
        # Inside another's container the kernel refuses more than that one has.
        self._set(relative, limits, errno.EINVAL)

    def _create_unified(self, relative: str) -> None:
        directory = self._mount
        for part in Path(relative).parts:
            # A controller reaches a level only if every level above hands it down.
            for controller in ("cpu", "memory", "pids", "cpuset"):
                _write(directory / "cgroup.subtree_control", f"+{controller}", errno.EINVAL)
            directory = directory / part
            directory.mkdir(exist_ok=True)

    def _set(self, relative: str, limits: Limits, *passed_over: int) -> None:
        if self.unified:
            directory = self._mount / relative
            values: dict[Path, object] = {
                directory / "cpu.weight": cpu_weight(limits.shares),
                directory / "cpu.max": f"{limits.quota or 'max'} {CPU_PERIOD}",
                directory / "memory.max": limits.memory or "max",
            }
        else:
            cpu, memory = self._mount / "cpu" / relative, self._mount / "memory" / relative
            values = {
                cpu / "cpu.shares": limits.shares,
                cpu / "cpu.cfs_period_us": CPU_PERIOD,
                cpu / "cpu.cfs_quota_us": limits.quota or -1,
                memory / "memory.limit_in_bytes": limits.memory or -1,
            }
        for path, value in values.items():
            _write(path, value, *passed_over)

    def _read(self, relative: str) -> Bounds | None:
        try:
            if self.unified:
                return self._read_unified(self._mount / relative)
            cpu, memory = self._mount / "cpu" / relative, self._mount / "memory" / relative
            quota = int((cpu / "cpu.cfs_quota_us").read_text())
            limit = int((memory / "memory.limit_in_bytes").read_text())
            return Bounds(
                unified=False,
                weight=int((cpu / "cpu.shares").read_text()),
                quota=quota if quota > 0 else None,
                memory=limit if limit < _V1_UNLIMITED else None,
                memory_used=int((memory / "memory.usage_in_bytes").read_text()),
            )
        except (OSError, ValueError):
            return None

    @staticmethod
    def _read_unified(directory: Path) -> Bounds:
        quota = (directory / "cpu.max").read_text().split()[0]
        limit = (directory / "memory.max").read_text().strip()
        return Bounds(
            unified=True,
            weight=int((directory / "cpu.weight").read_text()),
            quota=None if quota == "max" else int(quota),
            memory=None if limit == "max" else int(limit),
            memory_used=int((directory / "memory.current").read_text()),
        )

    def _remove(self, uid: str) -> None:
        for qos in ("Guaranteed", "Burstable", "BestEffort"):
            relative = self._path(qos, uid).lstrip("/")
            trees = [hierarchy / relative for hierarchy in self.hierarchies()]
            for _ in range(_KILL_ROUNDS):
                if not (left := _processes_in(trees)):
                    break
                _kill(left)
                time.sleep(_KILL_PAUSE_SECONDS)
            for tree in trees:
                remove_tree(tree)


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


def _kill(processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _statistics(file: Path) -> dict[str, int]:
    """A file of names and numbers."""
    pairs = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number in pairs}


def remove_tree(directory: Path) -> None:
    """Remove a cgroup and its children, innermost first; what is busy stays for the next round."""
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOENT):
                raise


def _write(path: Path, value: object, *also_passed_over: int) -> None:
    """Set one cgroup value; controllers that the kernel or a parent lacks are passed over."""
    try:
        path.write_text(str(value))
    except OSError as error:
        if error.errno not in (*_PASSED_OVER, *also_passed_over):
            raise
