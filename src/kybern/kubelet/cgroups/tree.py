"""The tree of cgroups that pods live in: one per quality of service, one per pod below it.

A class weighs what its pods asked for together: burstable ones their requests, best-effort ones
next to nothing. The runtime makes the containers' own cgroups below the pod's and leaves the pod's
behind, so the kubelet makes it before the sandbox and removes it after the pod.

Who makes cgroups, and their names, is the cgroup driver's affair: the runtime's, if it tells its
own, else the configured one. It is settled by the first who changes a cgroup or reports the node;
until then there is nothing to read.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.bounds import (
    MIN_SHARES,
    Bounds,
    Limits,
    cpu_shares,
    in_whole_percents,
    pod_bounds,
)
from kybern.kubelet.cgroups.kernel import MOUNT, CgroupFiles, CgroupUsage
from kybern.kubelet.cgroups.names import CGROUPFS, DRIVERS, QOS_CLASSES, SYSTEMD, Names
from kybern.kubelet.pods import spec

if TYPE_CHECKING:
    from kybern.kubelet.cgroups.systemd import Slices

logger = logging.getLogger(__name__)


class Cgroups:
    """Makes, reads and removes cgroups below ``root`` (``--cgroup-root``) of this machine.

    ``ask`` has the runtime tell its driver, empty if it does not. No pod has more than ``max_pids``
    processes (-1: as many as it likes). The kernel ends a whole container that is out of memory, or
    with ``single_oom_kill`` one process of it.
    """

    def __init__(
        self,
        root: str,
        mount: Path = MOUNT,
        *,
        driver: str = CGROUPFS,
        ask: Callable[[], Awaitable[str]] | None = None,
        max_pids: int = -1,
        single_oom_kill: bool = False,
    ) -> None:
        if driver not in DRIVERS:
            raise BadFlag(f"cgroupDriver: {driver!r} is none of {', '.join(DRIVERS)}")
        self._names = Names(root, driver)
        self._files = CgroupFiles(mount)
        self._ask = ask
        self._settled = False
        self._slices: Slices | None = None
        self._max_pids = max_pids
        self._single_oom_kill = single_oom_kill
        self._weighed = -1

    async def settle(self) -> None:
        """Find out the driver, if nobody has yet.

        Raises RpcError while the runtime does not answer, OSError where the driver is systemd and
        systemd cannot be asked.
        """
        if self._settled:
            return
        told = await self._ask() if self._ask is not None else ""
        if told and told != self._names.driver:
            logger.info("the container runtime says that its cgroup driver is %s", told)
            self._names = replace(self._names, driver=told)
        if self._names.driver == SYSTEMD:
            self._slices = self._slices or self._make_slices()
            await self._slices.connect()
        self._settled = True

    def _make_slices(self) -> "Slices":
        if not self.unified:
            raise OSError("the cgroup driver systemd needs cgroup version 2")
        try:
            from kybern.kubelet.cgroups.systemd import Slices
        except ImportError as error:
            raise OSError(f"the cgroup driver systemd needs dbus-fast: {error}") from error
        return Slices()

    def close(self) -> None:
        """Leave systemd alone; what it was told holds."""
        if self._slices is not None:
            self._slices.close()

    @property
    def unified(self) -> bool:
        """Whether the machine has cgroup version 2."""
        return self._files.unified

    @property
    def root(self) -> str:
        """The cgroup above all pods."""
        return self._names.all_pods

    def parent(self, pod: Obj) -> str:
        """The cgroup path of a pod, as CRI's ``cgroup_parent`` wants it."""
        return self._names.pod(spec.qos_class(pod), spec.uid(pod))

    async def create(self, pod: Obj) -> None:
        """Make the pod's cgroup and set its bounds; harmless if it is there."""
        await self.settle()
        await self._create(self.parent(pod), pod_bounds(pod), self._max_pids)

    async def weigh(self, burstable_milli_cpu: int) -> None:
        """Give burstable pods the CPU that they asked for together, best-effort ones the least."""
        if burstable_milli_cpu == self._weighed:
            return
        await self.settle()
        burstable = Limits(cpu_shares(burstable_milli_cpu), None, None)
        await self._create(self._names.qos("Burstable"), burstable)
        await self._create(self._names.qos("BestEffort"), Limits(MIN_SHARES, None, None))
        self._weighed = burstable_milli_cpu

    async def bound(self, pod: Obj, limits: Limits) -> None:
        """Change the bounds of the pod's cgroup; raises OSError where the kernel refuses."""
        await self.settle()
        path = self.parent(pod)
        if self._slices is not None:
            limits = in_whole_percents(limits)
            await self._slices.bound(path, limits)
        await asyncio.to_thread(self._files.bound, path, limits)

    async def bound_all(self, limits: Limits) -> None:
        """Bound all pods together; raises OSError where the kernel refuses."""
        await self.settle()
        await self._create(self.root, limits)

    async def _create(self, path: str, limits: Limits, max_pids: int = -1) -> None:
        if self._slices is not None:
            limits = in_whole_percents(limits)
            await self._slices.create(path, limits, max_pids)
        await asyncio.to_thread(self._write, path, limits, max_pids)

    def _write(self, path: str, limits: Limits, max_pids: int) -> None:
        self._files.make(path)
        # Inside another's container the kernel refuses more than that one has.
        self._files.bound(path, limits, errno.EINVAL)
        if max_pids > 0:
            self._files.bound_processes(path, max_pids)

    async def remove(self, uid: str) -> None:
        """Remove the pod's cgroup with all that the runtime left below it, processes too.

        A runtime that is killed while it makes a container may know nothing of its processes.
        """
        await self.settle()
        for qos in QOS_CLASSES:
            path = self._names.pod(qos, uid)
            if not await asyncio.to_thread(self._files.exists, path):
                continue
            await asyncio.to_thread(self._files.end, path)
            if self._slices is not None:
                await self._slices.remove(path)
            await asyncio.to_thread(self._files.remove, path)

    def pod_bounds(self, pod: Obj) -> Bounds | None:
        """What the pod's cgroup holds; None if it is not there."""
        return self._bounds(self.parent(pod))

    def container_bounds(self, uid: str, container_id: str) -> Bounds | None:
        """What a container's cgroup holds; None where the runtime put it somewhere else."""
        for qos in QOS_CLASSES:
            path = self._names.pod(qos, uid)
            for name in self._files.inside(path):
                if self._names.container(name) == container_id:
                    return self._bounds(f"{path}/{name}")
        return None

    def _bounds(self, path: str) -> Bounds | None:
        return self._files.bounds(path, whole_percents=self._names.driver == SYSTEMD)

    def usage(self, pod: Obj) -> CgroupUsage | None:
        """What the pod as a whole has used; None if its cgroup is not there. Blocks."""
        return self._files.usage(self.parent(pod))

    def memory_of_all(self) -> tuple[int, int] | None:
        """The limit of all pods together and their working set; None without a limit. Blocks."""
        bounds, memory = self._bounds(self.root), self._files.memory(self.root)
        if bounds is None or bounds.memory is None or memory is None:
            return None
        return bounds.memory, memory[1]

    def of_containers(self) -> dict[str, str]:
        """What every container's cgroup holds beside its limits: files of version 2 by name."""
        if not self.unified:
            return {}
        settings = {} if self._single_oom_kill else {"memory.oom.group": "1"}
        if (self._files.directory(self.root, "memory") / "memory.swap.max").exists():
            settings["memory.swap.max"] = "0"
        return settings

    def memory_directory(self, path: str) -> Path | None:
        """Where version 1 counts a cgroup's memory, and tells of it; None on version 2."""
        return None if self.unified else self._files.directory(path, "memory")

    def pressure(self, pod: Obj) -> dict[str, dict[str, Obj]]:
        """What the pod ("") and each of its containers, by id, had to wait for. Blocks."""
        path = self.parent(pod)
        found = {"": self._files.pressure(path)}
        for name in self._files.inside(path) if self.unified else ():
            found[self._names.container(name)] = self._files.pressure(f"{path}/{name}")
        return {name: pressure for name, pressure in found.items() if pressure}

    def processes(self, pod: Obj) -> int:
        """How many processes and threads the pod has; 0 where they are not counted."""
        return self._files.processes(self.parent(pod))

    def pods(self) -> set[str]:
        """UIDs of all pods that have a cgroup here."""
        classes = [self._names.qos(qos) for qos in QOS_CLASSES]
        names = [name for path in classes for name in self._files.inside_any(path)]
        return {uid for name in names if (uid := self._names.uid(name)) is not None}
