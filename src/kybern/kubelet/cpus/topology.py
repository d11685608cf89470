"""Where the machine's CPUs lie: core, socket, NUMA node and last-level cache of each.

Read from /sys once, when the kubelet starts: like upstream's, the CPU manager does not follow CPUs
that come and go while it runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kybern.kubelet.cpus.cpuset import Cpus, parse

SYSTEM = Path("/sys/devices/system")
_LAST_LEVEL = 2

Level = Literal["core", "socket", "numa", "cache"]


@dataclass(frozen=True, slots=True)
class Place:
    """One CPU's place. A core is named by its first CPU, because the kernel's numbers repeat."""

    core: int
    socket: int
    numa: int
    cache: int


@dataclass(frozen=True, slots=True)
class Topology:
    """The places of all CPUs that are online."""

    places: Mapping[int, Place]

    @property
    def cpus(self) -> Cpus:
        return frozenset(self.places)

    def ids(self, level: Level, cpus: Iterable[int]) -> set[int]:
        """The cores, sockets, nodes or caches that these CPUs belong to."""
        return {getattr(self.places[cpu], level) for cpu in cpus}

    def inside(self, level: Level, id: int, cpus: Iterable[int]) -> Cpus:
        """Those of the CPUs that belong to one core, socket, node or cache."""
        return frozenset(cpu for cpu in cpus if getattr(self.places[cpu], level) == id)

    def count(self, level: Level) -> int:
        return len(self.ids(level, self.places))

    def per(self, level: Level) -> int:
        """How many CPUs a core, socket, node or cache has, on average."""
        return len(self.places) // self.count(level)


def read_topology(system: Path = SYSTEM) -> Topology:
    """Look at this machine's CPUs. Blocks for a moment."""
    online = parse((system / "cpu" / "online").read_text().strip())
    nodes = {
        cpu: int(path.parent.name.removeprefix("node"))
        for path in system.glob("node/node[0-9]*/cpulist")
        for cpu in parse(path.read_text().strip())
    }
    return Topology({cpu: _place(system / "cpu" / f"cpu{cpu}", online, nodes) for cpu in online})


def _place(directory: Path, online: Cpus, nodes: Mapping[int, int]) -> Place:
    topology = directory / "topology"
    siblings = parse((topology / "thread_siblings_list").read_text().strip()) & online
    socket = int((topology / "physical_package_id").read_text())
    cpu = int(directory.name.removeprefix("cpu"))
    numa = nodes.get(cpu, socket)
    neighbours = {other for other in online if nodes.get(other, socket) == numa}
    return Place(min(siblings), socket, numa, _cache(directory, online, neighbours, socket))


def _cache(directory: Path, online: Cpus, neighbours: set[int], socket: int) -> int:
    """The last-level cache; one that a whole NUMA node shares tells nothing beyond the socket."""
    for index in sorted((directory / "cache").glob("index[0-9]*")):
        if int((index / "level").read_text()) <= _LAST_LEVEL:
            continue
        shared = parse((index / "shared_cpu_list").read_text().strip()) & online
        if shared != neighbours:
            return int((index / "id").read_text())
    return socket
