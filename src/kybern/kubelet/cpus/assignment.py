"""Chooses CPUs that lie close together: upstream's best fit over the machine's topology. Pure.

Whole NUMA nodes and sockets are taken first, then whole cores, then single CPUs, at every level
from where the fewest are left, so that what stays free stays in large pieces.
"""

from kybern.kubelet.cpus.cpuset import NO_CPUS, Cpus
from kybern.kubelet.cpus.distribution import best_split
from kybern.kubelet.cpus.options import Options
from kybern.kubelet.cpus.topology import Level, Topology


class NotEnough(Exception):
    """Fewer CPUs are free than were asked for."""


def choose(topology: Topology, free: Cpus, count: int, options: Options) -> Cpus:
    """``count`` of the free CPUs; raises NotEnough."""
    if count > len(free):
        raise NotEnough(
            "not enough cpus available to satisfy request: "
            f"requested={count}, available={len(free)}"
        )
    group = topology.per("core") if options.full_cores else 1
    if options.across_numa and count and count % group == 0:
        return _spread(topology, free, count, group)
    return _packed(topology, free, count, by_cache=options.by_cache)


def _packed(topology: Topology, free: Cpus, count: int, *, by_cache: bool = False) -> Cpus:
    picker = _Picker(topology, free, count)
    picker.take_whole(picker.outer)
    picker.take_whole(picker.inner)
    if by_cache:
        picker.take_caches()
    picker.take_whole("core")
    picker.take_single()
    return picker.taken


def _spread(topology: Topology, free: Cpus, count: int, group: int) -> Cpus:
    """The same number from each of as few NUMA nodes as can give it; packed if none can."""
    order = _Picker(topology, free, count).ordered_nodes()
    sizes = {node: len(topology.inside("numa", node, free)) for node in order}
    per_node = (-(-len(topology.cpus) // group) - 1) // topology.count("numa") + 1
    shares = best_split(sizes, count, group, per_node)
    if shares is None:
        return _packed(topology, free, count)
    taken = NO_CPUS
    for node, share in shares:
        taken |= _packed(topology, topology.inside("numa", node, free - taken), share)
    return taken


class _Picker:
    """One choice under way: what is still free, still wanted, and already taken.

    ``outer`` and ``inner`` are NUMA nodes and sockets, the larger of the two first.
    """

    def __init__(self, topology: Topology, free: Cpus, count: int) -> None:
        self._topology = topology
        self._free = free
        self._wanted = count
        self.taken = NO_CPUS
        levels: tuple[Level, Level] = ("numa", "socket")
        if topology.count("socket") < topology.count("numa"):
            levels = ("socket", "numa")
        self.outer, self.inner = levels

    def _take(self, cpus: Cpus) -> None:
        self._free -= cpus
        self._wanted -= len(cpus)
        self.taken |= cpus

    def _sorted(self, level: Level, cpus: Cpus) -> list[int]:
        """Those with the fewest free CPUs first."""

        def room(id: int) -> tuple[int, int]:
            return len(self._topology.inside(level, id, self._free)), id

        return sorted(self._topology.ids(level, cpus), key=room)

    def _ordered(self, level: Level) -> list[int]:
        """All of a level that have free CPUs; within larger ones, the fuller of those first."""
        found: list[int] = []
        above: dict[Level, Level] = {self.inner: self.outer, "core": self.inner}
        if level not in above:
            return self._sorted(level, self._free)
        for id in self._ordered(above[level]):
            found += self._sorted(level, self._topology.inside(above[level], id, self._free))
        return list(dict.fromkeys(found))

    def ordered_nodes(self) -> list[int]:
        return self._ordered("numa")

    def take_whole(self, level: Level) -> None:
        """Take whole nodes, sockets, caches or cores as long as that many CPUs are wanted."""
        whole = [id for id in self._listed(level) if self._is_free(level, id)]
        for id in whole:
            cpus = self._topology.inside(level, id, self._topology.cpus)
            if self._wanted >= len(cpus):
                self._take(cpus)

    def _listed(self, level: Level) -> list[int]:
        return self._ordered_caches() if level == "cache" else self._ordered(level)

    def _is_free(self, level: Level, id: int) -> bool:
        free = len(self._topology.inside(level, id, self._free))
        if level in ("core", "socket"):
            return free == self._topology.per(level)
        return free == len(self._topology.inside(level, id, self._topology.cpus))

    def _ordered_caches(self) -> list[int]:
        nodes = self.ordered_nodes()
        inside = (self._topology.inside("numa", node, self._free) for node in nodes)
        return [id for cpus in inside for id in self._sorted("cache", cpus)]

    def take_caches(self) -> None:
        """Take all CPUs of caches, then as many of one cache as are still wanted, if it has."""
        for cache in self._ordered_caches():
            if self._wanted >= self._topology.per("cache"):
                self.take_whole("cache")
            if self._wanted:
                self._take_part(cache)

    def _take_part(self, cache: int) -> None:
        per_core = self._topology.per("core")
        cores = self._topology.ids("core", self._topology.inside("cache", cache, self._free))
        chosen = sorted(cores)[: -(-self._wanted // per_core)]
        cpus = sorted(cpu for cpu in self._free if self._topology.places[cpu].core in chosen)
        if self._wanted % 2 and per_core > 1 and len(cpus) > self._wanted:
            # Of the last core only one thread is wanted.
            cpus.pop()
        if len(cpus) == self._wanted:
            self._take(frozenset(cpus))

    def take_single(self) -> None:
        """Take what is still wanted, one CPU after the other, of cores that are broken up first."""
        ordered = [
            cpu
            for core in self._ordered("core")
            for cpu in sorted(self._topology.inside("core", core, self._free))
        ]
        self._take(frozenset(ordered[: self._wanted]))
