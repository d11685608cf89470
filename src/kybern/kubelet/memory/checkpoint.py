"""The file ``memory_manager_state``: who has which memory, in upstream's form."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import orjson

from kybern.kubelet import checkpoints
from kybern.kubelet.checkpoints import Damaged
from kybern.kubelet.memory.manager import FILE
from kybern.kubelet.memory.tables import Assignments, Block, Machine, NodeMemory, State, Table

# How a table's fields are named in the file, and in what its checksum is counted over.
_TABLE = ("total", "systemReserved", "allocatable", "reserved", "free")
_SHOWN = ("TotalMemSize", "SystemReserved", "Allocatable", "Reserved", "Free")


def restore(root: Path, policy: str) -> State:
    """What an earlier kubelet kept, an empty state if there was none. Blocks; raises BadFlag."""
    found = checkpoints.restore(root / FILE, "memory", lambda text: _parse(text, policy))
    if found is None:
        found = State()
        save(root, policy, found)
    return found


def save(root: Path, policy: str, state: State) -> None:
    """Write the state, whole or not at all, even if the machine fails meanwhile. Blocks."""
    document: dict[str, Any] = {
        "policyName": policy,
        "machineState": {str(number): _node(node) for number, node in state.machine.items()},
    }
    if state.assignments:
        document["entries"] = {
            uid: {name: [_block(block) for block in blocks] for name, blocks in given.items()}
            for uid, given in state.assignments.items()
        }
    document["checksum"] = checksum(policy, state)
    checkpoints.write(root / FILE, document)


def _node(node: NodeMemory) -> dict[str, Any]:
    tables = {
        resource: dict(zip(_TABLE, astuple(table), strict=True))
        for resource, table in node.tables.items()
    }
    return {
        "numberOfAssignments": node.assignments,
        "memoryMap": tables,
        "cells": list(node.cells),
    }


def _block(block: Block) -> dict[str, Any]:
    return {"numaAffinity": list(block.nodes), "type": block.resource, "size": block.size}


def _parse(text: bytes, policy: str) -> State:
    document = orjson.loads(text)
    try:
        state = State(
            _machine(document.get("machineState") or {}),
            _assignments(document.get("entries") or {}),
        )
        written = document.get("policyName", "")
        # A file without a checksum comes from before there were any.
        counted = document.get("checksum") or checksum(written, state)
        intact = counted == checksum(written, state)
    except (AttributeError, KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        raise Damaged("checkpoint is corrupted")
    if written != policy:
        raise Damaged(
            f'[memorymanager] configured policy "{policy}" differs from '
            f'state checkpoint policy "{written}"'
        )
    return state


def _machine(nodes: dict[str, Any]) -> Machine:
    return {
        int(number): NodeMemory(
            node["numberOfAssignments"],
            {
                resource: Table(*(table[field] for field in _TABLE))
                for resource, table in node["memoryMap"].items()
            },
            tuple(node["cells"]),
        )
        for number, node in nodes.items()
    }


def _assignments(entries: dict[str, Any]) -> Assignments:
    return {
        uid: {
            name: [Block(tuple(b["numaAffinity"]), b["type"], b["size"]) for b in blocks]
            for name, blocks in given.items()
        }
        for uid, given in entries.items()
    }


def checksum(policy: str, state: State) -> int:
    """Upstream's checksum of the state: of how Go's debugging print shows it."""
    nodes = " ".join(
        f"{number}:<*>{{NumberOfAssignments:(int){node.assignments} "
        f"MemoryMap:(map[v1.ResourceName]*state.MemoryTable)map[{_shown_tables(node)}] "
        f"Cells:([]int)[{_listed(node.cells)}]}}"
        for number, node in sorted(state.machine.items())
    )
    pods = " ".join(
        f"{uid}:map[{' '.join(_shown_blocks(*each) for each in sorted(given.items()))}]"
        for uid, given in sorted(state.assignments.items())
    )
    return checkpoints.fnv(
        f"(*state.MemoryManagerCheckpoint){{PolicyName:(string){policy} "
        f"MachineState:(state.NUMANodeMap)map[{nodes}] "
        f"Entries:(state.ContainerMemoryAssignments)map[{pods}] Checksum:(checksum.Checksum)0}}"
    )


def _shown_tables(node: NodeMemory) -> str:
    shown = []
    for resource, table in sorted(node.tables.items()):
        fields = zip(_SHOWN, astuple(table), strict=True)
        shown.append(f"{resource}:<*>{{{' '.join(f'{name}:(uint64){n}' for name, n in fields)}}}")
    return " ".join(shown)


def _shown_blocks(name: str, blocks: list[Block]) -> str:
    shown = (
        f"{{NUMAAffinity:([]int)[{_listed(block.nodes)}] Type:(v1.ResourceName){block.resource} "
        f"Size:(uint64){block.size}}}"
        for block in blocks
    )
    return f"{name}:[{' '.join(shown)}]"


def _listed(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))
