"""One sync of one pod: decide what it needs, and do it, step by step.

Keeps only what the next status has to say and the runtime does not know: why containers wait,
which of them are still inside their postStart hook, and what the pod's cgroup holds.
"""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.kubelet.bounds import Bounds
from kybern.kubelet.cri.state import RuntimePod
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import sizes, spec
from kybern.kubelet.pods.actions import Actions, compute
from kybern.kubelet.pods.failures import StartFailure, SyncFailure
from kybern.kubelet.pods.garbage import prune
from kybern.kubelet.pods.killing import kill_container, kill_pod, reset
from kybern.kubelet.pods.resizing import ResizeFailed, resize
from kybern.kubelet.pods.starting import ContainerStarter, downward_facts, start_sandbox
from kybern.kubelet.status.containers import Observations, Waiting
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import MountedVolume


class PodSync:
    """The syncs of one pod; ``report`` makes its status of what the runtime shows."""

    def __init__(self, parts: Parts, report: Callable[[Obj, RuntimePod], None]) -> None:
        self._parts = parts
        self._report = report
        self._waiting: dict[str, Waiting] = {}
        self._hooking: set[str] = set()
        self._bounds: Bounds | None = None

    def observations(self, pod: Obj) -> Observations:
        """What the status needs to know beside the runtime's view."""
        return Observations(
            waiting=self._waiting,
            ready=self._parts.probes.ready(),
            started=self._parts.probes.started(),
            hooking=frozenset(self._hooking),
            pod_bounds=self._bounds,
            devices={
                container["name"]: found
                for container in spec.containers(pod)
                if (found := self._devices(pod, container))
            },
        )

    def _devices(self, pod: Obj, container: Obj) -> list[Obj]:
        parts = self._parts
        return parts.devices.health(pod, container) + parts.claims.health(pod, container)

    def settle(self, pod: Obj, state: RuntimePod) -> None:
        """After a sync: whether a resize of the pod is through."""
        self._bounds = self._parts.cgroups.pod_bounds(pod)
        self._parts.admission.settle(pod, sizes.due(pod, state, self._bounds))

    async def sync(self, pod: Obj, state: RuntimePod) -> float | None:
        """Do what the pod needs now.

        None if all is as it should be; else the seconds until another try makes sense, 0 leaving
        that to the caller.
        """
        try:
            return await self._sync(pod, state)
        except SyncFailure:
            return 0.0

    async def _sync(self, pod: Obj, state: RuntimePod) -> float | None:
        parts = self._parts
        if not parts.facts.network_ready and not spec.host_network(pod):
            message = f"network is not ready: {parts.facts.network_message}"
            parts.report(pod, None, "Warning", "NetworkNotReady", message)
            raise SyncFailure(message)
        actions = compute(pod, state, parts.probes.verdicts)
        if actions.reset:
            await reset(pod, actions.reset, parts)
            state = await parts.reader.pod(spec.uid(pod))
            # The status has to see the pod empty, to know why its containers are gone.
            self._report(pod, state)
            actions = compute(pod, state, parts.probes.verdicts)
        if not state.running():
            await parts.cgroups.weigh(parts.admission.burstable_cpu())
            await parts.cgroups.create(pod)
        volumes = await self._set_up_volumes(pod, state)
        if actions.kill_pod:
            await self._kill_pod(pod, state, actions)
            if not actions.create_sandbox:
                return None
        for kill in actions.kill:
            container = spec.find_container(pod, kill.container.name)
            grace = _kill_grace(pod, container, kill.probe)
            await kill_container(pod, container, kill.container.id, parts, grace, kill.message)
        if actions.create_sandbox:
            await start_sandbox(pod, parts, actions.attempt)
        if actions.create_sandbox or actions.kill:
            state = await parts.reader.pod(spec.uid(pod))
        await self._resize(pod, state)
        return await self._start_containers(pod, state, actions, volumes)

    async def _resize(self, pod: Obj, state: RuntimePod) -> None:
        """Give the running containers what they were granted, if they hold something else."""
        bounds = self._parts.cgroups.pod_bounds(pod)
        if bounds is None or not sizes.due(pod, state, bounds):
            return
        self._parts.admission.settle(pod, due=True)
        try:
            await resize(pod, state, bounds, self._parts)
        except ResizeFailed as error:
            self._parts.admission.fail(pod, str(error))
            raise SyncFailure(str(error)) from error

    async def _set_up_volumes(self, pod: Obj, state: RuntimePod) -> dict[str, MountedVolume]:
        parts = self._parts
        facts = downward_facts(pod, parts, state.ips)
        try:
            return await parts.volumes.set_up(pod, facts, parts.facts.allocatable)
        except VolumeError as error:
            parts.report(pod, None, "Warning", "FailedMount", str(error))
            raise SyncFailure(str(error)) from error

    async def _kill_pod(self, pod: Obj, state: RuntimePod, actions: Actions) -> None:
        if actions.create_sandbox and state.sandboxes:
            self._parts.report(
                pod,
                None,
                "Normal",
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            )
        await kill_pod(pod, state, self._parts, spec.grace_seconds(pod))

    async def _start_containers(
        self, pod: Obj, state: RuntimePod, actions: Actions, volumes: dict[str, MountedVolume]
    ) -> float | None:
        """Start what is due, in order; one that cannot start does not hold up its equals."""
        wanted = (*actions.start_ephemeral, *actions.start_init, *actions.start)
        self._waiting = {
            name: waiting
            for name, waiting in self._waiting.items()
            if any(container["name"] == name for container in wanted)
        }
        if not wanted or not state.sandboxes or not state.sandboxes[0].ready:
            return None if not wanted else 0.0
        starter = ContainerStarter(pod, self._parts, state, volumes, self._hooking)
        delays: list[float] = []
        for container in wanted:
            try:
                await starter.start(container)
                self._waiting.pop(container["name"], None)
            except StartFailure as failure:
                name = container["name"]
                self._waiting[name] = Waiting(failure.reason, failure.message)
                delays.append(failure.retry_after)
                if container in actions.start_init and not spec.is_sidecar(container):
                    break
        await prune(state, self._parts)
        if not delays:
            return None
        return min(delays) if all(delays) else 0.0


def _kill_grace(pod: Obj, container: Obj | None, probe: str) -> int:
    """A failed probe may bring its own grace."""
    declared = (container or {}).get(f"{probe}Probe") or {}
    own = declared.get("terminationGracePeriodSeconds")
    return spec.grace_seconds(pod) if own is None else int(own)
