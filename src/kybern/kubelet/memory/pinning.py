"""The memory manager with the policy ``Static``: memory that is kept for containers on some nodes.

What it gives is on disk before the pod goes on. The kernel holds a container to its nodes
(``cpuset.mems``), but keeps nothing free for it: that is what the book is for.
"""

import asyncio
from pathlib import Path

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.admission import resizes
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.memory import checkpoint
from kybern.kubelet.memory.manager import MemoryManager
from kybern.kubelet.memory.reserved import add_up, kept_in_all, parse_reservations
from kybern.kubelet.memory.share import MemoryShare, release
from kybern.kubelet.memory.tables import MEMORY, Amounts, State, book, new_machine, same
from kybern.kubelet.node.machine import memory_info
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.manager import Share
from kybern.kubelet.topology.numa import Nodes, read_nodes

POLICY = "Static"


class PinningMemoryManager(MemoryManager):
    """One node's; ``reserved`` is kept from pods on each NUMA node."""

    def __init__(self, root: Path, nodes: Nodes, reserved: dict[int, Amounts]) -> None:
        self._root = root
        self._state = begin_with(checkpoint.restore(root, POLICY), nodes, reserved)
        checkpoint.save(root, POLICY, self._state)
        self._written = self._state.copy()
        self._writing = asyncio.Lock()

    def share(self, pod: Obj) -> Share | None:
        if pod["spec"].get("resources") or spec.qos_class(pod) != "Guaranteed":
            return None
        return MemoryShare(self._state, pod, self._keep)

    async def begins(self, pod: Obj, container: Obj) -> None:
        """Ordinary init containers before this one give back what nobody has had again."""
        ended = []
        for earlier in spec.init_containers(pod):
            if earlier["name"] == container["name"]:
                break
            if not spec.is_sidecar(earlier):
                ended.append(earlier["name"])
        if release(self._state, spec.uid(pod), tuple(ended)):
            await self._keep()

    async def release(self, uid: str) -> None:
        release(self._state, uid)
        await self._keep()

    async def _keep(self) -> None:
        """Write down what is not written yet. Nobody starts with memory that is not."""
        async with self._writing:
            if self._state != self._written:
                state = self._state.copy()
                await asyncio.to_thread(checkpoint.save, self._root, POLICY, state)
                self._written = state

    def judge_resize(self, granted: Obj, wanted: Obj) -> Refusal | None:
        return resizes.keeps_its_size(granted, wanted, MEMORY, f'Memory Manager policy "{POLICY}"')

    def nodes(self, uid: str, container: str) -> str:
        blocks = self._state.assignments.get(uid, {}).get(container, ())
        return ",".join(map(str, sorted({node for block in blocks for node in block.nodes})))

    def pods(self) -> set[str]:
        return set(self._state.assignments)


def make_pinning_memory_manager(config: Config) -> PinningMemoryManager:
    """The manager for a node's configuration. Blocks; raises BadFlag where it makes no sense."""
    nodes = read_nodes()
    kept = kept_in_all(config, memory_info().get("MemTotal", 0))
    reserved = add_up(parse_reservations(config.reserved_memory), nodes, kept)
    if not any(amounts.get(MEMORY) for amounts in reserved.values()):
        raise BadFlag("[memorymanager] you should specify the system reserved memory")
    return PinningMemoryManager(Path(config.root_dir), nodes, reserved)


def begin_with(state: State, nodes: Nodes, reserved: dict[int, Amounts]) -> State:
    """The state to begin with; raises BadFlag for one that does not fit this machine."""
    expected = new_machine(nodes, reserved)
    if not state.machine:
        if state.assignments:
            raise BadFlag(
                "[memorymanager] machine state can not be empty when it has memory assignments"
            )
        return State(expected)
    for uid, given in state.assignments.items():
        for name, blocks in given.items():
            for block in blocks:
                where = (
                    f"[memorymanager] (pod: {uid}, container: {name}) the memory assignment uses"
                )
                if not expected.keys() >= set(block.nodes):
                    raise BadFlag(f"{where} the NUMA that does not exist")
                if any(block.resource not in expected[node].tables for node in block.nodes):
                    raise BadFlag(f"{where} memory resource that does not exist")
                book(expected, block.nodes, block.resource, block.size)
    if not same(state.machine, expected):
        raise BadFlag("[memorymanager] the expected machine state is different from the real one")
    return state
