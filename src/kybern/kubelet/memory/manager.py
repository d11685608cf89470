"""The memory manager as the rest of the node knows it, and the policy ``None``: nothing is kept.

``pinning.py`` is the manager where the policy is ``Static``; few nodes load it.
"""

from pathlib import Path

import orjson

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet import checkpoints
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.topology.manager import Share

FILE = "memory_manager_state"

# The file where the policy is ``None``.
_NOTHING = {"policyName": "None", "machineState": {}, "checksum": 4236770233}


class MemoryManager:
    """All containers have their memory wherever the kernel finds some."""

    def share(self, pod: Obj) -> Share | None:
        """The memory that is to be kept for a new pod, if any; the topology manager gives it."""
        return None

    async def begins(self, pod: Obj, container: Obj) -> None:
        """A container is about to start, so those that had to end before it have ended."""

    async def release(self, uid: str) -> None:
        """The pod has ended; others may have its memory."""

    def judge_resize(self, granted: Obj, wanted: Obj) -> Refusal | None:
        """Whether a pod may change its size while it runs."""
        return None

    def nodes(self, uid: str, container: str) -> str:
        """The NUMA nodes that a container's memory has to be on, empty for any."""
        return ""

    def pods(self) -> set[str]:
        """UIDs of all pods that have memory kept for them."""
        return set()


def make_memory_manager(config: Config) -> MemoryManager:
    """The manager for a node's configuration. Blocks; raises BadFlag where it makes no sense."""
    policy = config.memory_manager_policy
    if policy == "Static":
        from kybern.kubelet.memory.pinning import make_pinning_memory_manager

        return make_pinning_memory_manager(config)
    if policy == "BestEffort":
        raise BadFlag('policy "BestEffort" is not available for platform "linux"')
    if policy != "None":
        raise BadFlag(f'unknown policy: "{policy}"')
    if config.reserved_memory:
        from kybern.kubelet.memory.reserved import parse_reservations

        parse_reservations(config.reserved_memory)
    _note(Path(config.root_dir) / FILE)
    return MemoryManager()


def _note(file: Path) -> None:
    """Say in the file that nothing is kept; raises BadFlag where it says something else. Blocks."""
    try:
        if file.read_bytes() == orjson.dumps(_NOTHING):
            return
    except FileNotFoundError:
        checkpoints.write(file, _NOTHING)
        return
    from kybern.kubelet.memory import checkpoint

    checkpoint.restore(file.parent, "None")
