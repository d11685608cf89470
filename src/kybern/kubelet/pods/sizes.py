"""Which containers of a pod hold something else than they were granted. Pure."""

from kybern.api.errors import Obj
from kybern.kubelet.bounds import Bounds, Limits, container_bounds, pod_bounds
from kybern.kubelet.cri.state import RUNNING, ContainerState, RuntimePod
from kybern.kubelet.pods import spec

_RESTART = "RestartContainer"


def is_due(container: Obj, found: ContainerState, wanted: Limits) -> bool:
    """Whether a running container holds something else than it was granted."""
    if found.state != RUNNING or found.bounds is None:
        return False
    return not found.bounds.hold(wanted) or _restarts_for_request(container, found)


def needs_restart(container: Obj, found: ContainerState, wanted: Limits) -> bool:
    """Whether a resize that is due restarts the container, by its resize policies."""
    if found.bounds is None:
        return False
    policies = {p["resourceName"]: p["restartPolicy"] for p in container.get("resizePolicy") or ()}
    cpu = not (found.bounds.hold_shares(wanted.shares) and found.bounds.hold_quota(wanted.quota))
    memory = not found.bounds.hold_memory(wanted.memory)
    return (
        (cpu and policies.get("cpu") == _RESTART)
        or (memory and policies.get("memory") == _RESTART)
        or _restarts_for_request(container, found)
    )


def _restarts_for_request(container: Obj, found: ContainerState) -> bool:
    """A memory request is not in any cgroup, but a container may want to start anew for it."""
    policies = {p["resourceName"]: p["restartPolicy"] for p in container.get("resizePolicy") or ()}
    if policies.get("memory") != _RESTART or found.memory_request is None:
        return False
    return found.memory_request != spec.resource_value(container, "requests", "memory")


def due(pod: Obj, state: RuntimePod, bounds: Bounds | None) -> bool:
    """Whether anything of a pod, with its granted resources, has still to be resized."""
    if bounds is not None and state.running() and not bounds.hold(pod_bounds(pod)):
        return True
    return any(
        is_due(container, found, container_bounds(pod, container))
        for container, found in running(pod, state)
    )


def running(pod: Obj, state: RuntimePod) -> list[tuple[Obj, ContainerState]]:
    """The pod's running containers, with their specs; ephemeral ones are never resized."""
    latest = (
        (container, state.latest(container["name"]))
        for container in (*spec.init_containers(pod), *spec.containers(pod))
    )
    return [
        (container, found)
        for container, found in latest
        if found is not None and found.state == RUNNING
    ]
