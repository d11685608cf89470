"""The policy ``Static``: on which nodes a container's memory may lie, and on which it does. Pure.

A node is either given away alone, to any number of containers, or in one group with others: so a
container on one node never has to share its memory with one that lies on several.
"""

from collections.abc import Iterable, Mapping

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.kubelet import huge_pages
from kybern.kubelet.memory.tables import MEMORY, Amounts, Machine
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.hints import Hint, Mask, masks, narrowness, numbers, preferring

# What a pod's init containers leave to those that come after them, by nodes.
Lent = dict[Mask, Amounts]

_BYTES = 10**9


class CannotGive(Exception):
    """The memory cannot be given; the text is upstream's."""


def requested(container: Obj) -> Amounts:
    """The memory and huge pages that a container asks for; raises CannotGive for parts of bytes."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    found: Amounts = {}
    for resource, text in asked.items():
        if resource == MEMORY or resource.startswith(huge_pages.PREFIX):
            quantity = Quantity.parse(text)
            if quantity.milli() % 1000:
                raise CannotGive("[memorymanager] failed to represent quantity as int64")
            found[resource] = quantity.value()
    return found


def pod_requested(pod: Obj) -> Amounts:
    """The most that a pod's containers have at any time; raises CannotGive."""
    peak: Amounts = {}
    lasting: Amounts = {}
    for container in spec.init_containers(pod):
        for resource, size in requested(container).items():
            if spec.is_sidecar(container):
                lasting[resource] = lasting.get(resource, 0) + size
            else:
                whole = lasting.get(resource, 0) + size
                peak[resource] = max(peak.get(resource, 0), whole)
    total: Amounts = {}
    for container in spec.containers(pod):
        for resource, size in requested(container).items():
            total[resource] = total.get(resource, 0) + size
    return {
        resource: max(size + lasting.get(resource, 0), peak.get(resource, 0))
        for resource, size in total.items()
    }


def memory_hints(machine: Machine, wanted: Amounts, lent: Lent) -> dict[str, list[Hint]]:
    """The nodes that could hold all of it, the same for each resource; empty if there are none."""
    fewest, possible = len(machine), []
    for mask in masks(machine):
        nodes = numbers(mask)
        if not _hold(_sums(machine, nodes, wanted, "allocatable"), wanted):
            continue
        fewest = min(fewest, len(nodes))
        if _is_torn(machine, nodes):
            continue
        free = _sums(machine, nodes, wanted, "free")
        for resource, size in lent.get(mask, {}).items():
            free[resource] = free.get(resource, 0) + size
        if _hold(free, wanted):
            possible.append(mask)
    return {resource: preferring(possible, fewest) for resource in wanted} if possible else {}


def nodes_to_give(machine: Machine, wanted: Amounts, hint: Hint, lent: Lent) -> Mask:
    """The nodes for what is wanted: the hint's, more than those, or the best; raises CannotGive."""
    if hint.nodes is None:
        best = _best(_possible(machine, wanted, lent))
        if best is None:
            raise CannotGive(
                "[memorymanager] failed to get the default NUMA affinity, "
                "no NUMA nodes with enough memory is available"
            )
        _must_be_as_good(best, hint, "default")
    else:
        best = hint
    assert best.nodes is not None
    if not _hold(_sums(machine, numbers(best.nodes), wanted, "free"), wanted):
        best = _extended(machine, wanted, best, lent)
    assert best.nodes is not None
    if best.nodes.bit_count() > 1 and _is_torn(machine, numbers(best.nodes)):
        raise CannotGive("[memorymanager] preferred hint violates NUMA node allocation")
    return best.nodes


def _extended(machine: Machine, wanted: Amounts, hint: Hint, lent: Lent) -> Hint:
    """Nodes that hold it and include the hint's, which are fewer where resources were merged."""
    assert hint.nodes is not None
    best = _best(
        each
        for each in _possible(machine, wanted, lent)
        if each.nodes is not None and each.nodes & hint.nodes == hint.nodes
    )
    if best is None:
        raise CannotGive(
            "[memorymanager] failed to find NUMA nodes to extend the current topology hint"
        )
    _must_be_as_good(best, hint, "extended")
    return best


def _must_be_as_good(found: Hint, hint: Hint, kind: str) -> None:
    if hint.preferred and not found.preferred:
        raise CannotGive(f"[memorymanager] failed to find the {kind} preferred hint")


def _possible(machine: Machine, wanted: Amounts, lent: Lent) -> list[Hint]:
    return memory_hints(machine, wanted, lent).get(MEMORY, [])


def _best(hints: Iterable[Hint]) -> Hint | None:
    """A preferred hint before others, then the narrowest."""
    return min(
        hints, key=lambda hint: (not hint.preferred, narrowness(hint.nodes or 0)), default=None
    )


def _is_torn(machine: Machine, nodes: list[int]) -> bool:
    """Whether any of the nodes is given away already, and not as just this group."""
    if len(nodes) == 1:
        return len(machine[nodes[0]].cells) > 1
    return any(machine[node].assignments and sorted(machine[node].cells) != nodes for node in nodes)


def _sums(machine: Machine, nodes: list[int], wanted: Iterable[str], kind: str) -> Amounts:
    return {
        resource: sum(
            getattr(machine[node].tables[resource], kind)
            for node in nodes
            if resource in machine[node].tables
        )
        for resource in wanted
    }


def _hold(have: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    return all(have[resource] >= size for resource, size in wanted.items())
