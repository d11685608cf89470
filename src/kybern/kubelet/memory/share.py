"""What one pod gets of the nodes' memory, where the policy is ``Static``: hints, then blocks.

Ordinary init containers end before the others begin, who may have their memory then. What is had
again is booked once: the block of the init container shrinks by as much.
"""

from collections.abc import Awaitable, Callable

from kybern.api.errors import Obj
from kybern.kubelet.admission.predicates import Refusal, unexpected
from kybern.kubelet.memory import metrics
from kybern.kubelet.memory.static import (
    CannotGive,
    Lent,
    memory_hints,
    nodes_to_give,
    pod_requested,
    requested,
)
from kybern.kubelet.memory.tables import Amounts, Block, State, book, give_back
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.hints import Hint, Hints, Mask, mask_of, numbers


class MemoryShare:
    """One Guaranteed pod's share of ``state``, which it changes; ``keep`` writes the state down."""

    def __init__(self, state: State, pod: Obj, keep: Callable[[], Awaitable[None]]) -> None:
        self._state = state
        self._pod = pod
        self._uid = spec.uid(pod)
        self._is_new = self._uid not in state.assignments
        self._lent: Lent = {}
        self._keep = keep

    def hints(self, container: Obj) -> Hints:
        try:
            wanted = requested(container)
        except CannotGive:
            return {}
        if self._has_ended(container):
            return {}
        blocks = self._blocks(container)
        if blocks is not None:
            return _hints_of(blocks, wanted)
        return memory_hints(self._state.machine, wanted, self._lent)

    def pod_hints(self) -> Hints:
        try:
            wanted = pod_requested(self._pod)
        except CannotGive:
            return {}
        for container in (*spec.init_containers(self._pod), *spec.containers(self._pod)):
            if (blocks := self._blocks(container)) is not None:
                return _hints_of(blocks, wanted)
        return memory_hints(self._state.machine, wanted, {})

    async def give(self, container: Obj, hint: Hint) -> Refusal | None:
        if self._has_ended(container):
            return None
        metrics.REQUESTS.inc()
        blocks = self._blocks(container)
        if blocks is None:
            try:
                blocks = self._take(container, hint)
            except CannotGive as error:
                metrics.ERRORS.inc()
                return unexpected(str(error))
        self._lend(container, blocks)
        return None

    def _take(self, container: Obj, hint: Hint) -> list[Block]:
        machine, wanted = self._state.machine, requested(container)
        mask = nodes_to_give(machine, wanted, hint, self._lent)
        nodes, lent = tuple(numbers(mask)), self._lent.get(mask, {})
        for resource, size in wanted.items():
            book(machine, nodes, resource, max(size - lent.get(resource, 0), 0))
        blocks = [Block(nodes, resource, size) for resource, size in wanted.items()]
        self._state.assignments.setdefault(self._uid, {})[container["name"]] = blocks
        for block in blocks:
            self._shrink_earlier(container, block)
        return blocks

    def _shrink_earlier(self, container: Obj, block: Block) -> None:
        """Count what the container has again of earlier init containers as its own."""
        left = block.size
        for earlier in spec.init_containers(self._pod):
            if earlier["name"] == container["name"]:
                return
            if spec.is_sidecar(earlier):
                continue
            for old in self._blocks(earlier) or ():
                if (old.resource, old.nodes) == (block.resource, block.nodes):
                    part = min(left, old.size)
                    old.size -= part
                    left -= part

    def _lend(self, container: Obj, blocks: list[Block]) -> None:
        """Note what comes after an init container may have, or has not any more."""
        passing = _passes(self._pod, container)
        for block in blocks:
            mask: Mask = mask_of(block.nodes)
            lent: Amounts = self._lent.setdefault(mask, {})
            before = lent.get(block.resource, 0)
            lent[block.resource] = (
                max(before, block.size) if passing else max(before - block.size, 0)
            )

    def _blocks(self, container: Obj) -> list[Block] | None:
        return self._state.assignments.get(self._uid, {}).get(container["name"])

    def _has_ended(self, container: Obj) -> bool:
        """Whether it has given its memory back, before an earlier kubelet ended."""
        has_none = self._blocks(container) is None
        return has_none and not self._is_new and _passes(self._pod, container)

    async def keep(self) -> None:
        await self._keep()

    def take_back(self) -> None:
        if self._is_new:
            release(self._state, self._uid)


def release(state: State, uid: str, containers: tuple[str, ...] | None = None) -> bool:
    """Put back what a pod has, or what these containers of it have; True if that was something."""
    given = state.assignments.get(uid, {})
    ended = [name for name in given if containers is None or name in containers]
    for name in ended:
        give_back(state.machine, given.pop(name))
    if not given:
        state.assignments.pop(uid, None)
    return bool(ended)


def _passes(pod: Obj, container: Obj) -> bool:
    return container in spec.init_containers(pod) and not spec.is_sidecar(container)


def _hints_of(blocks: list[Block], wanted: Amounts) -> Hints:
    """The nodes that a container has its blocks on; none if it asks for others than it has."""
    if {block.resource: block.size for block in blocks} != wanted:
        return {}
    return {block.resource: [Hint(mask_of(block.nodes), True)] for block in blocks}
