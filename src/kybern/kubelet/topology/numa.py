"""The machine's NUMA nodes: how far they are from each other, and the memory of each.

Read from /sys once, when the kubelet starts and a policy asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kybern.kubelet.cpus.topology import SYSTEM
from kybern.kubelet.node.machine import read_huge_pages


@dataclass(frozen=True, slots=True)
class NumaNode:
    """One node: distances by node (10 is its own), bytes of memory, huge pages by their bytes."""

    distances: Mapping[int, int] = field(default_factory=dict)
    memory: int = 0
    huge_pages: Mapping[int, int] = field(default_factory=dict)


Nodes = Mapping[int, NumaNode]


def read_nodes(system: Path = SYSTEM) -> Nodes:
    """This machine's nodes by number; its sockets where the kernel tells of no nodes. Blocks."""
    found = sorted(
        (int(path.name.removeprefix("node")), path) for path in system.glob("node/node[0-9]*")
    )
    if not found:
        packages = system.glob("cpu/cpu[0-9]*/topology/physical_package_id")
        return {socket: NumaNode() for socket in sorted({int(p.read_text()) for p in packages})}
    numbers = [number for number, _ in found]
    return {
        number: NumaNode(
            _distances(path, numbers), _memory(path), read_huge_pages(path / "hugepages")
        )
        for number, path in found
    }


def _distances(node: Path, numbers: list[int]) -> Mapping[int, int]:
    try:
        words = (node / "distance").read_text().split()
    except OSError:
        return {}
    return dict(zip(numbers, map(int, words), strict=True))


def _memory(node: Path) -> int:
    try:
        lines = (node / "meminfo").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = [line.split()[3] for line in lines if "MemTotal:" in line]
    return int(kilobytes[0]) * 1024 if kilobytes else 0
