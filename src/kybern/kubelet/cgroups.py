"""The tree of cgroups that pods live in: one per quality of service, one per pod below it.

Both cgroup versions are served. The runtime makes the containers' own cgroups below the pod's and
leaves the pod's behind, so the kubelet makes it before the sandbox and removes it after the pod.
"""

import asyncio
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.pods import spec

CPU_PERIOD = 100_000
MIN_SHARES = 2
MAX_SHARES = 262_144
MIN_QUOTA = 1000

_MOUNT = Path("/sys/fs/cgroup")
# The controllers that a pod's cgroup needs; cpuset is left to the runtime, which fills in the
# parents' cpus that version 1 wants before anything may run.
_V1_CONTROLLERS = ("cpu", "memory", "pids")


def cpu_shares(milli_cpu: int) -> int:
    """cgroup v1's weight for a CPU request in thousandths of a core."""
    if milli_cpu == 0:
        return MIN_SHARES
    return min(max(milli_cpu * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def cpu_quota(milli_cpu: int) -> int:
    """Microseconds per period for a CPU limit in thousandths of a core; 0 without one."""
    if milli_cpu == 0:
        return 0
    return max(milli_cpu * CPU_PERIOD // 1000, MIN_QUOTA)


def cpu_weight(shares: int) -> int:
    """cgroup v2's weight for v1's shares, as runtimes convert it."""
    return 1 + (shares - MIN_SHARES) * 9999 // (MAX_SHARES - MIN_SHARES)


@dataclass(frozen=True, slots=True)
class PodResources:
    """What bounds a pod as a whole; None where a limit does not apply."""

    shares: int
    quota: int | None
    memory: int | None


def pod_resources(pod: Obj) -> PodResources:
    """Shares from the requests; quota and memory only if every container has such a limit."""
    regular = spec.containers(pod)
    sidecars = [c for c in spec.init_containers(pod) if spec.is_sidecar(c)]
    once = [c for c in spec.init_containers(pod) if not spec.is_sidecar(c)]

    def most(kind: str, resource: str) -> int:
        value = spec.resource_milli if resource == "cpu" else spec.resource_value
        together = sum(value(c, kind, resource) for c in (*regular, *sidecars))
        return max([together, *(value(c, kind, resource) for c in once)])

    def bounded(resource: str) -> bool:
        return all(spec.resource_milli(c, "limits", resource) for c in (*regular, *sidecars, *once))

    return PodResources(
        shares=cpu_shares(most("requests", "cpu")),
        quota=cpu_quota(most("limits", "cpu")) if bounded("cpu") else None,
        memory=most("limits", "memory") if bounded("memory") else None,
    )


class Cgroups:
    """Makes and removes cgroups below ``root`` (``--cgroup-root``) of this machine."""

    def __init__(self, root: str, mount: Path = _MOUNT) -> None:
        self._root = "/" + root.strip("/") if root.strip("/") else ""
        self._mount = mount
        self.unified = (mount / "cgroup.controllers").exists()

    def parent(self, pod: Obj) -> str:
        """The cgroup path of a pod, as CRI's ``cgroup_parent`` wants it."""
        return self._path(spec.qos_class(pod), spec.uid(pod))

    def _path(self, qos: str, uid: str) -> str:
        middle = "" if qos == "Guaranteed" else f"/{qos.lower()}"
        return f"{self._root}/kubepods{middle}/pod{uid}"

    async def create(self, pod: Obj) -> None:
        """Make the pod's cgroup and set its bounds; harmless if it is there."""
        await asyncio.to_thread(self._create, self.parent(pod), pod_resources(pod))

    async def remove(self, uid: str) -> None:
        """Remove the pod's cgroup with all that the runtime left below it."""
        await asyncio.to_thread(self._remove, uid)

    def pods(self) -> set[str]:
        """UIDs of all pods that have a cgroup here."""
        found: set[str] = set()
        for directory in self.hierarchies():
            base = directory / f"{self._root}/kubepods".lstrip("/")
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

    def _create(self, path: str, resources: PodResources) -> None:
        relative = path.lstrip("/")
        if self.unified:
            self._create_unified(relative, resources)
            return
        for controller in _V1_CONTROLLERS:
            if (self._mount / controller).is_dir():
                (self._mount / controller / relative).mkdir(parents=True, exist_ok=True)
        cpu, memory = self._mount / "cpu" / relative, self._mount / "memory" / relative
        _write(cpu / "cpu.shares", resources.shares)
        _write(cpu / "cpu.cfs_period_us", CPU_PERIOD)
        _write(cpu / "cpu.cfs_quota_us", resources.quota or -1)
        _write(memory / "memory.limit_in_bytes", resources.memory or -1)

    def _create_unified(self, relative: str, resources: PodResources) -> None:
        directory = self._mount
        for part in Path(relative).parts:
            # A controller reaches a level only if every level above hands it down.
            for controller in ("cpu", "memory", "pids", "cpuset"):
                _write(directory / "cgroup.subtree_control", f"+{controller}")
            directory = directory / part
            directory.mkdir(exist_ok=True)
        _write(directory / "cpu.weight", cpu_weight(resources.shares))
        _write(directory / "cpu.max", f"{resources.quota or 'max'} {CPU_PERIOD}")
        _write(directory / "memory.max", resources.memory or "max")

    def _remove(self, uid: str) -> None:
        for qos in ("Guaranteed", "Burstable", "BestEffort"):
            relative = self._path(qos, uid).lstrip("/")
            for hierarchy in self.hierarchies():
                remove_tree(hierarchy / relative)


def remove_tree(directory: Path) -> None:
    """Remove a cgroup and its children, innermost first; what is busy stays for the next round."""
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOENT):
                raise


def _write(path: Path, value: object) -> None:
    """Set one cgroup value; controllers that the kernel or a parent lacks are passed over."""
    try:
        path.write_text(str(value))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EBUSY):
            raise
