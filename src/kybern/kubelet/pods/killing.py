"""Stops containers and whole pods: preStop hooks, grace, order, sandboxes."""

import asyncio
from collections.abc import Awaitable, Sequence

from kybern.api.errors import Obj
from kybern.kubelet.cri.client import is_gone
from kybern.kubelet.cri.state import CREATED, EXITED, ContainerState, RuntimePod
from kybern.kubelet.lifecycle import HookFailed
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.rpc.client import RpcError

# A container is never killed without a chance to hear the signal, except on grace 0.
MINIMUM_GRACE = 2


async def kill_container(
    pod: Obj | None,
    container: Obj | None,
    container_id: str,
    parts: Parts,
    grace: int,
    message: str = "",
) -> None:
    """Run the preStop hook within the grace, then stop the container with what is left of it."""
    if pod is not None and container is not None:
        text = message or f"Stopping container {container['name']}"
        parts.report(pod, container, "Normal", "Killing", text)
        hook = (container.get("lifecycle") or {}).get("preStop")
        if hook and grace > 0:
            begun = parts.clock.monotonic()
            await _pre_stop(pod, container, container_id, parts, hook, grace)
            spent = int(parts.clock.monotonic() - begun)
            grace = max(grace - spent, MINIMUM_GRACE)
    try:
        await parts.runtime.stop_container(container_id, grace)
    except RpcError as error:
        if not is_gone(error):
            raise


async def _pre_stop(
    pod: Obj, container: Obj, container_id: str, parts: Parts, hook: Obj, grace: int
) -> None:
    ips = (pod.get("status") or {}).get("podIPs") or ()
    ip = ips[0]["ip"] if ips else ""
    try:
        async with asyncio.timeout(grace):
            await parts.hooks.run(hook, container, container_id, ip)
    except TimeoutError:
        # Its grace is over; the container is stopped all the same.
        return
    except HookFailed as error:
        parts.report(pod, container, "Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")


async def kill_pod(pod: Obj | None, state: RuntimePod, parts: Parts, grace: int) -> None:
    """Stop every running container, sidecars last and in reverse, then the sandboxes."""
    sidecars = [c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)] if pod else []
    running = state.running()
    first = [c for c in running if c.name not in sidecars]
    begun = parts.clock.monotonic()
    await _kill_all(pod, first, parts, grace)
    for name in reversed(sidecars):
        left = max(grace - int(parts.clock.monotonic() - begun), min(grace, MINIMUM_GRACE))
        await _kill_all(pod, [c for c in running if c.name == name], parts, left)
    for sandbox in state.sandboxes:
        if not sandbox.ready:
            continue
        try:
            await parts.runtime.stop_sandbox(sandbox.id)
        except RpcError as error:
            if not is_gone(error):
                raise


async def _kill_all(
    pod: Obj | None, containers: Sequence[ContainerState], parts: Parts, grace: int
) -> None:
    async with asyncio.TaskGroup() as group:
        for running in containers:
            if running.state == CREATED:
                # What never started cannot be stopped: the runtime would leave it as it is.
                group.create_task(_ignoring_gone(parts.runtime.remove_container(running.id)))
                continue
            declared = spec.find_container(pod, running.name) if pod else None
            group.create_task(kill_container(pod, declared, running.id, parts, grace))


async def reset(pod: Obj, containers: Sequence[ContainerState], parts: Parts) -> None:
    """Kill and remove containers of a pod that begins anew, one after the other; logs stay."""
    for found in containers:
        if found.state not in (CREATED, EXITED):
            declared = spec.find_container(pod, found.name)
            await kill_container(pod, declared, found.id, parts, 0)
        await _ignoring_gone(parts.runtime.remove_container(found.id))


async def remove_pod(state: RuntimePod, parts: Parts) -> None:
    """Remove all that the runtime keeps of a stopped pod: containers, then sandboxes."""
    for container in state.containers:
        await _ignoring_gone(parts.runtime.remove_container(container.id))
    for sandbox in state.sandboxes:
        await _ignoring_gone(parts.runtime.stop_sandbox(sandbox.id))
        await _ignoring_gone(parts.runtime.remove_sandbox(sandbox.id))


async def _ignoring_gone(call: Awaitable[None]) -> None:
    try:
        await call
    except RpcError as error:
        if not is_gone(error):
            raise
