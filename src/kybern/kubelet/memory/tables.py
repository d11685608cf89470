"""The book of a machine's memory: what each NUMA node has, and who holds which block. Pure.

A block may lie on several nodes, its group. It is booked on their free memory in the order of their
numbers, and as one assignment on each, whatever part of it they hold: which pages lie where is the
kernel's affair.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from kybern.kubelet import huge_pages
from kybern.kubelet.topology.numa import Nodes

MEMORY = "memory"

# Bytes by resource.
Amounts = dict[str, int]


@dataclass(slots=True)
class Table:
    """Bytes of one resource on one node."""

    total: int
    system_reserved: int
    allocatable: int
    reserved: int
    free: int


@dataclass(slots=True)
class NodeMemory:
    """One node; ``cells`` are the group of nodes that it is given away with, itself included."""

    assignments: int
    tables: dict[str, Table]
    cells: tuple[int, ...]


@dataclass(slots=True)
class Block:
    """So many bytes of a resource, somewhere on these nodes."""

    nodes: tuple[int, ...]
    resource: str
    size: int


Machine = dict[int, NodeMemory]
# By pod UID and container name.
Assignments = dict[str, dict[str, list[Block]]]


@dataclass(slots=True)
class State:
    """What the nodes have, and what is whose."""

    machine: Machine = field(default_factory=dict)
    assignments: Assignments = field(default_factory=dict)

    def copy(self) -> "State":
        """A state that stays as it is while this one changes."""
        return deepcopy(self)


def new_machine(nodes: Nodes, reserved: Mapping[int, Amounts]) -> Machine:
    """The machine with nothing given away; ``reserved`` is kept from pods on each node."""
    return {
        number: NodeMemory(
            0, _tables(node.memory, node.huge_pages, reserved.get(number, {})), (number,)
        )
        for number, node in nodes.items()
    }


def _tables(memory: int, pages: Mapping[int, int], reserved: Amounts) -> dict[str, Table]:
    found = {}
    in_pages = 0
    for size, count in pages.items():
        resource = huge_pages.resource_name(size)
        kept = reserved.get(resource, 0)
        left = size * count - kept
        found[resource] = Table(size * count, kept, left, 0, left)
        in_pages += size * count
    kept = reserved.get(MEMORY, 0)
    left = memory - kept - in_pages
    found[MEMORY] = Table(memory, kept, left, 0, left)
    return found


def book(machine: Machine, nodes: tuple[int, ...], resource: str, size: int) -> None:
    """Take a block from the nodes, as far as they have it."""
    for number in nodes:
        node = machine[number]
        node.assignments += 1
        node.cells = nodes
        table = node.tables.get(resource)
        if table is not None:
            part = min(size, max(table.free, 0))
            table.reserved += part
            table.free -= part
            size -= part


def give_back(machine: Machine, blocks: Iterable[Block]) -> None:
    """Put blocks back where memory is reserved; a node without assignments is alone again."""
    for block in blocks:
        left = block.size
        for number in block.nodes:
            node = machine[number]
            node.assignments -= 1
            if node.assignments == 0:
                node.cells = (number,)
            table = node.tables.get(block.resource)
            if table is not None:
                part = min(left, table.reserved)
                table.reserved -= part
                table.free += part
                left -= part


def same(one: Machine, other: Machine) -> bool:
    """Whether two books agree, where each group of nodes counts as one."""
    return one.keys() == other.keys() and all(
        _agree(one, other, number, node) for number, node in one.items()
    )


def _agree(one: Machine, other: Machine, number: int, node: NodeMemory) -> bool:
    theirs = other[number]
    if (
        node.assignments != theirs.assignments
        or sorted(node.cells) != sorted(theirs.cells)
        or node.tables.keys() != theirs.tables.keys()
    ):
        return False
    return all(
        _fixed(table) == _fixed(theirs.tables[resource])
        and _held(one, node.cells, resource) == _held(other, node.cells, resource)
        for resource, table in node.tables.items()
    )


def _fixed(table: Table) -> tuple[int, int, int]:
    return table.total, table.system_reserved, table.allocatable


def _held(machine: Machine, cells: Iterable[int], resource: str) -> tuple[int, int]:
    tables = [machine[cell].tables[resource] for cell in cells]
    return sum(table.free for table in tables), sum(table.reserved for table in tables)
