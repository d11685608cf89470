"""Removes what a living pod no longer needs: containers and sandboxes of earlier attempts.

Of each container the newest stays and the one before it, whose log ``logs --previous`` shows. A
pod that crashes for ever thus takes no more room than one that crashed once.
"""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

from kybern.kubelet.cri.client import is_gone
from kybern.kubelet.cri.state import EXITED, ContainerState, RuntimePod
from kybern.kubelet.parts import Parts
from kybern.rpc.client import RpcError

# The state that is judged is the one from before a start, so one of these is soon the previous one.
KEPT_PER_CONTAINER = 1


async def prune(state: RuntimePod, parts: Parts) -> None:
    """Remove what is superfluous in a pod's state as it was before this sync's starts."""
    seen: Counter[str] = Counter()
    kept_sandboxes = {sandbox.id for sandbox in state.sandboxes[:1]}
    for container in state.containers:
        seen[container.name] += 1
        if container.state != EXITED or seen[container.name] <= KEPT_PER_CONTAINER:
            kept_sandboxes.add(container.sandbox_id)
            continue
        await _remove_container(container, parts)
    for sandbox in state.sandboxes:
        if not sandbox.ready and sandbox.id not in kept_sandboxes:
            with contextlib.suppress(RpcError):
                await parts.runtime.remove_sandbox(sandbox.id)


async def _remove_container(container: ContainerState, parts: Parts) -> None:
    try:
        await parts.runtime.remove_container(container.id)
    except RpcError as error:
        if not is_gone(error):
            return
    if container.log_path:
        await asyncio.to_thread(_remove_logs, Path(container.log_path))


def _remove_logs(path: Path) -> None:
    """The log, and what rotation has set aside of it."""
    for file in [path, *path.parent.glob(f"{path.name}.*")]:
        file.unlink(missing_ok=True)
