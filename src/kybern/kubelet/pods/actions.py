"""Decides what a pod needs next, from its spec, the runtime's view and the probes. Pure.

The worker calls :func:`compute` after every change and performs the :class:`Actions`; deciding
again from the new state is always safe, so nothing is planned further ahead than one step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kybern.api.errors import Obj
from kybern.kubelet.bounds import container_bounds
from kybern.kubelet.cri.state import (
    CREATED,
    EXITED,
    RUNNING,
    UNKNOWN,
    ContainerState,
    RuntimePod,
    SandboxState,
)
from kybern.kubelet.pods import sizes, spec

LIVENESS = "liveness"
STARTUP = "startup"


@dataclass(frozen=True, slots=True)
class Kill:
    """A container to stop, with the event's message; ``probe`` names the probe that failed."""

    container: ContainerState
    message: str
    probe: str = ""


@dataclass(slots=True)
class Actions:
    """The next steps: kill the pod or single containers, then a sandbox, then containers.

    With ``reset`` nothing else is to be done: these containers go, and what then is to be done is
    another question.
    """

    kill_pod: bool = False
    create_sandbox: bool = False
    sandbox: SandboxState | None = None
    attempt: int = 0
    kill: list[Kill] = field(default_factory=list)
    reset: list[ContainerState] = field(default_factory=list)
    start_ephemeral: list[Obj] = field(default_factory=list)
    start_init: list[Obj] = field(default_factory=list)
    start: list[Obj] = field(default_factory=list)


# Probe verdicts by (container id, probe kind): True passed, False failed, absent unknown.
Verdicts = Mapping[tuple[str, str], bool]


def sandbox_changed(pod: Obj, state: RuntimePod) -> tuple[bool, int]:
    """Whether a new sandbox is needed, and the attempt number it gets (or the present one's)."""
    if not state.sandboxes:
        return True, 0
    newest = state.sandboxes[0]
    usable = (
        sum(sandbox.ready for sandbox in state.sandboxes) <= 1
        and newest.ready
        and newest.host_network == spec.host_network(pod)
        and (newest.host_network or bool(newest.ips))
    )
    return not usable, newest.attempt if usable else newest.attempt + 1


def should_restart(pod: Obj, container: Obj, state: RuntimePod) -> bool:
    """Whether a container that is not running is to be started (again)."""
    if spec.is_deleted(pod):
        return False
    latest = state.latest(container["name"])
    if latest is None or latest.state in (CREATED, UNKNOWN):
        return True
    if latest.state == RUNNING:
        return False
    return spec.restarts_after(pod, container, latest.exit_code)


def compute(pod: Obj, state: RuntimePod, verdicts: Verdicts) -> Actions:
    """The next steps for a pod that is meant to run."""
    changed, attempt = sandbox_changed(pod, state)
    actions = Actions(attempt=attempt, sandbox=state.sandboxes[0] if state.sandboxes else None)
    if resets := _resets(pod, state):
        actions.reset = resets
        return actions
    if changed:
        actions.kill_pod = actions.create_sandbox = True
        _with_new_sandbox(pod, state, actions)
        return actions
    actions.start_ephemeral = [
        c for c in spec.ephemeral_containers(pod) if state.latest(c["name"]) is None
    ]
    initialized = _init_actions(pod, state, verdicts, actions)
    if actions.kill_pod or not initialized:
        return actions
    kept = 0
    for container in spec.containers(pod):
        latest = state.latest(container["name"])
        if latest is None or latest.state != RUNNING:
            if should_restart(pod, container, state):
                actions.start.append(container)
                if latest is not None and latest.state == UNKNOWN:
                    actions.kill.append(Kill(latest, _unknown_message("Container")))
            continue
        kill = _kill_reason(container, latest, verdicts, "Container")
        if kill is None and (kill := _resize_restart(pod, container, latest)) is not None:
            actions.kill.append(kill)
            actions.start.append(container)
            continue
        if kill is None:
            kept += 1
            continue
        changed_spec = not kill.probe
        if changed_spec or spec.restarts_after(pod, container, 1):
            actions.start.append(container)
            kill = Kill(kill.container, f"{kill.message}, will be restarted", kill.probe)
        actions.kill.append(kill)
    if kept == 0 and not actions.start:
        actions.kill_pod = True
        actions.start_init = []
    return actions


def restarts_all(pod: Obj, state: RuntimePod) -> bool:
    """Whether a container has ended in a way that restarts the whole pod by its own rules."""
    return any(
        (latest := state.latest(container["name"])) is not None and _is_source(container, latest)
        for container in (*spec.init_containers(pod), *spec.containers(pod))
    )


def _is_source(container: Obj, found: ContainerState) -> bool:
    return (
        found.state == EXITED
        and spec.restart_action(container, found.exit_code) == spec.RESTART_ALL
    )


def _resets(pod: Obj, state: RuntimePod) -> list[ContainerState]:
    """All containers of a pod that is restarted, in the order in which they go.

    Those whose ends began it are the last ones, so that a kubelet that dies in between finds them.
    """
    if not restarts_all(pod, state):
        return []
    targets: list[ContainerState] = []
    sources: list[ContainerState] = []
    for container in (*spec.containers(pod), *spec.init_containers(pod)):
        for found in state.containers:
            if found.name == container["name"]:
                (sources if _is_source(container, found) else targets).append(found)
    return targets + sources


def _with_new_sandbox(pod: Obj, state: RuntimePod, actions: Actions) -> None:
    """What starts in a fresh sandbox; a pod that is through gets none."""
    if spec.restart_policy(pod) == "Never" and actions.attempt and state.containers:
        actions.create_sandbox = False
        return
    wanted = [c for c in spec.containers(pod) if not _done_for_good(pod, c, state)]
    created = any(state.latest(c["name"]) for c in spec.containers(pod))
    if not wanted and created:
        actions.create_sandbox = False
        return
    if first := spec.init_containers(pod)[:1]:
        actions.start_init = first
    else:
        actions.start = wanted


def _done_for_good(pod: Obj, container: Obj, state: RuntimePod) -> bool:
    policy = container.get("restartPolicy") or spec.restart_policy(pod)
    latest = state.latest(container["name"])
    return (
        policy == "OnFailure"
        and latest is not None
        and latest.state == EXITED
        and latest.exit_code == 0
    )


def _kill_reason(
    container: Obj, latest: ContainerState, verdicts: Verdicts, what: str
) -> Kill | None:
    """Why a running container must go, if it must."""
    name = container["name"]
    if latest.hash and latest.hash != spec.container_hash(container):
        return Kill(latest, f"{what} {name} definition changed")
    if verdicts.get((latest.id, LIVENESS)) is False:
        return Kill(latest, f"{what} {name} failed liveness probe", LIVENESS)
    if verdicts.get((latest.id, STARTUP)) is False:
        return Kill(latest, f"{what} {name} failed startup probe", STARTUP)
    return None


def _resize_restart(pod: Obj, container: Obj, latest: ContainerState) -> Kill | None:
    """A resize that the container's own policy makes a restart."""
    if not sizes.needs_restart(container, latest, container_bounds(pod, container)):
        return None
    return Kill(latest, f"Container {container['name']} resize requires restart")


def _unknown_message(what: str) -> str:
    return f'{what} is in "unknown" state, try killing it before restart'


def _init_actions(pod: Obj, state: RuntimePod, verdicts: Verdicts, actions: Actions) -> bool:
    """Steps for init containers, from the last backwards; True once regular ones may start.

    The newest init container that ever ran says how far initialization is; sidecars before it are
    kept running, ordinary ones before it have done their work.
    """
    inits = spec.init_containers(pod)
    if not inits:
        return True
    regular = [state.latest(c["name"]) for c in spec.containers(pod)]
    initialized = any(c is not None and c.state in (CREATED, RUNNING) for c in regular)
    seen_later = initialized
    starts: list[Obj] = []
    for index in range(len(inits) - 1, -1, -1):
        container = inits[index]
        latest = state.latest(container["name"])
        sidecar = spec.is_sidecar(container)
        if latest is None:
            if seen_later and sidecar:
                starts.append(container)
            continue
        if seen_later and not sidecar:
            continue
        following = inits[index + 1] if index + 1 < len(inits) else None
        if latest.state == RUNNING and not sidecar:
            pass
        elif latest.state == RUNNING:
            passed = _sidecar_started(container, latest, verdicts)
            if passed:
                if following is None:
                    initialized = True
                elif not seen_later:
                    starts.append(following)
            kill = _kill_reason(container, latest, verdicts, "Init container")
            kill = kill or _resize_restart(pod, container, latest)
            if kill is not None:
                actions.kill.append(kill)
                starts.append(container)
        elif latest.state == EXITED and not sidecar and latest.exit_code == 0:
            if following is None:
                initialized = True
            else:
                starts.append(following)
        elif not sidecar and not spec.restarts_after(pod, container, latest.exit_code or 1):
            actions.kill_pod = True
            actions.start_init = []
            return False
        else:
            if latest.state == UNKNOWN:
                actions.kill.append(Kill(latest, _unknown_message("Init container")))
            starts.append(container)
        seen_later = True
    if not seen_later:
        starts.append(inits[0])
    actions.start_init = starts[::-1]
    return initialized


def _sidecar_started(container: Obj, latest: ContainerState, verdicts: Verdicts) -> bool:
    if not container.get("startupProbe"):
        return True
    return verdicts.get((latest.id, STARTUP)) is True
