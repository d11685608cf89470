"""The CPU manager with the policy ``static``: CPUs that containers have to themselves.

What it gives is on disk before the pod goes on. Everybody else shares what is left, so containers
that run already are moved through the runtime whenever that changed, and every reconcile period in
case they could not be.
"""

import asyncio
import logging
from pathlib import Path

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.admission import resizes
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.bounds import EXCLUSIVE_CPUS
from kybern.kubelet.config import Config
from kybern.kubelet.cpus import checkpoint
from kybern.kubelet.cpus.cpuset import Cpus, shown
from kybern.kubelet.cpus.manager import CpuManager
from kybern.kubelet.cpus.options import parse_options
from kybern.kubelet.cpus.share import CpuShare
from kybern.kubelet.cpus.static import exclusive_cpus, static_policy
from kybern.kubelet.cpus.topology import Topology
from kybern.kubelet.cri import labels
from kybern.kubelet.cri.client import Runtime, cri
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.manager import Share
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

POLICY = "static"


class PinningManager(CpuManager):
    """One node's; ``reserved`` are CPUs that are reserved by their numbers."""

    def __init__(
        self, config: Config, topology: Topology, reserved: Cpus, runtime: Runtime
    ) -> None:
        self._runtime = runtime
        self._root = Path(config.root_dir)
        self._period = config.cpu_manager_reconcile_period
        try:
            options = parse_options(config.policy_options())
        except BadFlag as error:
            raise BadFlag(f"new static policy error: {error}") from None
        self._policy = static_policy(topology, options, config.reserved().get("cpu"), reserved)
        self._state = self._policy.check(checkpoint.restore(self._root, POLICY))
        checkpoint.save(self._root, POLICY, self._state)
        self._policy.count(self._state)
        self._written = self._state.copy()
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        # What each running container was last told, by its id.
        self._told: dict[str, str] = {}

    def share(self, pod: Obj) -> Share | None:
        wants = any(
            exclusive_cpus(pod, container)
            for container in (*spec.init_containers(pod), *spec.containers(pod))
        )
        return CpuShare(self._policy, self._state, pod, self._keep) if wants else None

    async def release(self, uid: str) -> None:
        if uid in self._state.assignments:
            self._policy.release(self._state, uid)
        await self._keep()

    async def _keep(self) -> None:
        """Write down what is not written yet. Nobody starts with CPUs that are not."""
        async with self._writing:
            state = self._state.copy()
            if state == self._written:
                return
            await asyncio.to_thread(checkpoint.save, self._root, POLICY, state)
            self._written = state
            self._policy.count(state)
            self._changed.set()

    def judge_resize(self, granted: Obj, wanted: Obj) -> Refusal | None:
        return resizes.keeps_its_size(granted, wanted, "cpu", f'CPU Manager policy "{POLICY}"')

    def pinned(self, pod: Obj) -> Obj:
        given = self._state.assignments.get(spec.uid(pod))
        if given is None:
            return pod
        changed = dict(pod["spec"])
        for group in ("initContainers", "containers"):
            if group in changed:
                changed[group] = [
                    {**container, EXCLUSIVE_CPUS: shown(given[container["name"]])}
                    if container["name"] in given
                    else container
                    for container in changed[group]
                ]
        return {**pod, "spec": changed}

    def cpuset(self, uid: str, container: str) -> str:
        given = self._state.assignments.get(uid) or {}
        return shown(given.get(container, self._state.shared))

    def pods(self) -> set[str]:
        return set(self._state.assignments)

    async def run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.reconcile()
            except RpcError as error:
                logger.warning("the containers' CPUs were not looked at: %s", error)
            try:
                async with asyncio.timeout(self._period):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def reconcile(self) -> None:
        """Tell the runtime of every running container that has to change its CPUs."""
        running = {
            container.id: container.labels
            for container in await self._runtime.containers()
            if container.state == cri.CONTAINER_RUNNING
        }
        self._told = {id: told for id, told in self._told.items() if id in running}
        for id, marks in running.items():
            wanted = self.cpuset(
                marks.get(labels.POD_UID, ""), marks.get(labels.CONTAINER_NAME, "")
            )
            if self._told.get(id) == wanted:
                continue
            try:
                await self._runtime.update_resources(
                    id, cri.LinuxContainerResources(cpuset_cpus=wanted)
                )
                self._told[id] = wanted
            except RpcError as error:
                logger.warning("container %s was not moved to CPUs %s: %s", id, wanted, error)
