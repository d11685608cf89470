"""Resizes running containers and their pod in place, within the order that the kernel wants.

What is due is read from the cgroups themselves: a kubelet that was killed halfway goes on where
they stand. A container's quota may not pass its pod's, so a growing pod grows first and a shrinking
one shrinks last. A memory limit below what is used would kill, so it is refused beforehand.
"""

from kybern.api.errors import Obj
from kybern.kubelet.bounds import Bounds, Limits, container_bounds, pod_bounds
from kybern.kubelet.cri.container_config import resources
from kybern.kubelet.cri.state import ContainerState, RuntimePod
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.sizes import is_due, needs_restart, running
from kybern.rpc.client import RpcError


class ResizeFailed(Exception):
    """A granted resize could not be carried out now; the text is for the condition."""


async def resize(pod: Obj, state: RuntimePod, bounds: Bounds, parts: Parts) -> None:
    """Bring the running containers and the pod's cgroup to what was granted; or ResizeFailed."""
    wanted = pod_bounds(pod)
    changes = [
        (container, found, container_bounds(pod, container))
        for container, found in running(pod, state)
        if is_due(container, found, container_bounds(pod, container))
        and not needs_restart(container, found, container_bounds(pod, container))
    ]
    _check_memory(pod, wanted, bounds, changes, parts)
    unified = parts.cgroups.of_containers()
    try:
        await parts.cgroups.bound(pod, _larger(wanted, bounds))
        for container, found, limits in sorted(changes, key=_growth):
            capacity = parts.facts.memory_capacity
            message = resources(pod, container, limits, capacity, unified)
            await parts.runtime.update_resources(found.id, message)
            parts.reader.forget(found.id)
        await parts.cgroups.bound(pod, wanted)
        await parts.cgroups.weigh(parts.admission.burstable_cpu())
    except (RpcError, OSError) as error:
        raise ResizeFailed(str(error)) from error


def _growth(change: tuple[Obj, ContainerState, Limits]) -> int:
    """Sorts what shrinks before what grows."""
    _, found, limits = change
    assert found.bounds is not None
    return (limits.memory or 0) - (found.bounds.memory or 0)


def _larger(wanted: Limits, bounds: Bounds) -> Limits:
    """The pod's limits while its containers change: of the old and the new the more generous."""

    def more(new: int | None, old: int | None) -> int | None:
        return None if new is None or old is None else max(new, old)

    return Limits(
        wanted.shares, more(wanted.quota, bounds.quota), more(wanted.memory, bounds.memory)
    )


def _check_memory(
    pod: Obj,
    wanted: Limits,
    bounds: Bounds,
    changes: list[tuple[Obj, ContainerState, Limits]],
    parts: Parts,
) -> None:
    """Refuse limits that what is in use already exceeds."""
    problems = []
    if _shrinks(wanted.memory, bounds) and bounds.memory_used >= (wanted.memory or 0):
        problems.append(
            f"attempting to set pod memory limit ({wanted.memory}) "
            f"below current usage ({bounds.memory_used})"
        )
    for container, found, limits in changes:
        now = parts.cgroups.container_bounds(spec.uid(pod), found.id) or bounds
        used = now.memory_used
        if _shrinks(limits.memory, now) and used >= (limits.memory or 0):
            problems.append(
                f'attempting to set container "{container["name"]}" memory limit '
                f"({limits.memory}) below current usage ({used})"
            )
    if problems:
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise ResizeFailed(f"cannot decrease memory limits: {text}")


def _shrinks(memory: int | None, bounds: Bounds) -> bool:
    return memory is not None and (bounds.memory is None or memory < bounds.memory)
