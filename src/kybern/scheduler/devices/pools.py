"""Pools of devices as one node sees them, from the resource slices of all drivers.

A pool counts in its newest generation only. It is incomplete while slices of it are missing, and
invalid where its slices contradict each other; neither stops other pools from being used.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.api.cel.device_selectors import variables
from kybern.api.quantity import Quantity

Obj = dict[str, Any]
# Driver, pool and name.
DeviceId = tuple[str, str, str]
# Whether a node is one that a slice or a device names: nodeName, allNodes or nodeSelector.
Reaches = Callable[[Obj], bool]
Counters = dict[tuple[str, str], Quantity]


@dataclass(slots=True)
class Device:
    """A device in its pool; ``place`` is what limits it to nodes (the slice's spec or its own)."""

    id: DeviceId
    spec: Obj
    place: Obj
    _seen: dict[str, Any] | None = None

    @property
    def is_shared(self) -> bool:
        """Several claims may hold it at a time, each a part of its capacity."""
        return bool(self.spec.get("allowMultipleAllocations"))

    def seen(self) -> dict[str, Any]:
        """The variables of selectors, made once; raises EvaluationError."""
        if self._seen is None:
            self._seen = variables(self.spec, self.id[0])
        return self._seen

    def counters(self) -> Counters:
        """What the device takes from the pool's shared counters."""
        return {
            (taken["counterSet"], name): Quantity.parse(counter["value"])
            for taken in self.spec.get("consumesCounters") or ()
            for name, counter in taken["counters"].items()
        }


@dataclass(slots=True)
class Pool:
    driver: str
    name: str
    devices: list[Device] = field(default_factory=list)
    # Devices of the pool that other nodes have: they take from the same counters.
    elsewhere: list[Device] = field(default_factory=list)
    counters: Counters = field(default_factory=dict)
    is_incomplete: bool = False
    is_invalid: bool = False

    @property
    def id(self) -> str:
        return f"{self.driver}/{self.name}"

    @property
    def waits(self) -> bool:
        """Some device must be made ready before a pod may be bound: such pools come last."""
        return any(device.spec.get("bindingConditions") for device in self.devices)


class Slices:
    """All resource slices of the cluster, by pool, in their newest generations."""

    def __init__(self, slices: Iterable[Obj]) -> None:
        self._pools: dict[tuple[str, str], list[Obj]] = {}
        for held in slices:
            spec = held["spec"]
            known = self._pools.setdefault((spec["driver"], spec["pool"]["name"]), [])
            generation = spec["pool"].get("generation", 0)
            newest = known[0]["spec"]["pool"].get("generation", 0) if known else generation
            if generation > newest:
                known.clear()
            if generation >= newest:
                known.append(held)
        # Pools by the nodes that their slices name, and those that may reach any node.
        self._of_node: dict[str, dict[tuple[str, str], None]] = {}
        self._of_any: dict[tuple[str, str], None] = {}
        for key, known in self._pools.items():
            known.sort(key=lambda held: held["metadata"]["name"])
            for held in known:
                name = held["spec"].get("nodeName")
                if name and not held["spec"].get("sharedCounters"):
                    self._of_node.setdefault(name, {})[key] = None
                else:
                    self._of_any[key] = None

    def near(self, node: str) -> "Slices":
        """Those of the pools that may have a device for the node."""
        keys = {**self._of_any, **self._of_node.get(node, {})}
        return Slices(held for key in keys for held in self._pools[key])

    @property
    def choose_nodes_by_device(self) -> bool:
        """Two nodes that see the same slices may still see different devices."""
        return any(
            held["spec"].get("perDeviceNodeSelection")
            for slices in self._pools.values()
            for held in slices
        )

    def pools(self, reaches: Reaches) -> list[Pool]:
        """The pools with a device for the node, in the order in which they are tried."""
        found = [
            pool
            for (driver, name), slices in sorted(self._pools.items())
            if (pool := _pool(driver, name, slices, reaches)) is not None
        ]
        return sorted(found, key=lambda pool: pool.waits)

    def signature(self, reaches: Reaches) -> tuple[str, ...]:
        """The names of the slices that reach a node."""
        return tuple(
            held["metadata"]["name"]
            for slices in self._pools.values()
            for held in slices
            if _slice_reaches(held["spec"], reaches)
        )


def _slice_reaches(spec: Obj, reaches: Reaches) -> bool:
    if spec.get("perDeviceNodeSelection"):
        return any(reaches(device) for device in spec.get("devices") or ())
    return reaches(spec)


def _pool(driver: str, name: str, slices: list[Obj], reaches: Reaches) -> Pool | None:
    specs = [held["spec"] for held in slices]
    counting = [spec for spec in specs if spec.get("sharedCounters")]
    # Slices with counters belong to every node that has any part of the pool.
    if not counting and not any(_slice_reaches(spec, reaches) for spec in specs):
        return None
    pool = Pool(driver, name)
    if len(slices) != specs[0]["pool"].get("resourceSliceCount", 1):
        pool.is_incomplete = True
        return pool
    for spec in specs:
        for device in spec.get("devices") or ():
            place = device if spec.get("perDeviceNodeSelection") else spec
            held = Device((driver, name, device["name"]), device, place)
            (pool.devices if reaches(place) else pool.elsewhere).append(held)
    for spec in counting:
        _add_counters(pool, spec["sharedCounters"])
    known = {device.id for device in pool.devices}
    uses = [*pool.devices, *pool.elsewhere]
    unknown = any(key not in pool.counters for device in uses for key in device.counters())
    if len(known) != len(pool.devices) or unknown:
        pool.is_invalid = True
    if pool.is_invalid:
        pool.devices = []
    return pool


def _add_counters(pool: Pool, sets: Iterable[Mapping[str, Any]]) -> None:
    for counter_set in sets:
        for counter, held in counter_set["counters"].items():
            key = (counter_set["name"], counter)
            pool.is_invalid |= key in pool.counters
            pool.counters[key] = Quantity.parse(held["value"])
