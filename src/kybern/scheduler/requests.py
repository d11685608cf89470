"""What a pod asks of a node: resource requests as the scheduler counts them.

Upstream's rules: containers add up; init containers run one after the other, so each counts with
the sidecars started before it and the largest wins; pod-level requests (KEP-2837) override; the
overhead comes on top. A running pod that is being resized (KEP-1287, and KEP-5419 for the pod as a
whole) counts with the larger of what it asks and what it has. Scores use the "non-zero" form, where
a container without a cpu or memory request counts with 100m and 200Mi.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from kybern.api.quantity import Quantity

Obj = dict[str, Any]
Amounts = dict[str, int]

NONZERO_CPU = 100
NONZERO_MEMORY = 200 * 1024 * 1024
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Requests:
    """cpu in milli, the rest in units; ``scalars`` are extended resources and hugepages."""

    cpu: int
    memory: int
    ephemeral_storage: int
    scalars: tuple[tuple[str, int], ...]
    nonzero_cpu: int
    nonzero_memory: int

    def amount(self, resource: str) -> int:
        if resource == "cpu":
            return self.cpu
        if resource == "memory":
            return self.memory
        if resource == "ephemeral-storage":
            return self.ephemeral_storage
        return dict(self.scalars).get(resource, 0)

    def amounts(self, resources: Sequence[str]) -> list[int]:
        """The amount of each resource named."""
        if resources == ("cpu", "memory"):
            return [self.cpu, self.memory]
        return [self.amount(resource) for resource in resources]

    def items(self) -> list[tuple[str, int]]:
        """Every resource that is asked for, by name."""
        plain = [
            ("cpu", self.cpu),
            ("memory", self.memory),
            ("ephemeral-storage", self.ephemeral_storage),
        ]
        return [(name, amount) for name, amount in plain if amount] + list(self.scalars)


_remembered: OrderedDict[bytes, Requests] = OrderedDict()


def fingerprint(pod: Obj) -> bytes:
    """Equal for pods whose requests are equal; cheap next to parsing quantities."""
    spec = pod["spec"]
    parts: list[Any] = [[c.get("resources") for c in spec["containers"]]]
    if inits := spec.get("initContainers"):
        parts.append([(c.get("resources"), c.get("restartPolicy")) for c in inits])
    if "overhead" in spec or "resources" in spec:
        parts.append((spec.get("overhead"), spec.get("resources")))
    if spec.get("nodeName") and any(resized := _resized(pod)):
        parts += resized
    return orjson.dumps(parts)


def requests_of(pod: Obj) -> Requests:
    """The pod's requests; equal pods share one object (a bounded memory of recent shapes)."""
    key = fingerprint(pod)
    found = _remembered.get(key)
    if found is None:
        found = _remembered[key] = _requests(pod)
        if len(_remembered) > REMEMBERED:
            _remembered.popitem(last=False)
    return found


def is_scalar_resource(name: str) -> bool:
    """Extended resources, hugepages and attachable volumes: counted by name."""
    if name.startswith(("hugepages-", "attachable-volumes-")):
        return True
    return "kubernetes.io/" in name or is_extended_resource(name)


def is_extended_resource(name: str) -> bool:
    """A resource with a domain of its own, outside kubernetes.io."""
    is_native = "/" not in name or "kubernetes.io/" in name
    return not is_native and not name.startswith("requests.")


def _requests(pod: Obj) -> Requests:
    actual = _pod_requests(pod, {})
    stand_ins = {"cpu": NONZERO_CPU, "memory": NONZERO_MEMORY}
    nonzero = actual if _all_ask(pod["spec"], stand_ins) else _pod_requests(pod, stand_ins)
    scalars = tuple(
        (name, amount) for name, amount in sorted(actual.items()) if is_scalar_resource(name)
    )
    return Requests(
        cpu=actual.get("cpu", 0),
        memory=actual.get("memory", 0),
        ephemeral_storage=actual.get("ephemeral-storage", 0),
        scalars=scalars,
        nonzero_cpu=nonzero.get("cpu", 0),
        nonzero_memory=nonzero.get("memory", 0),
    )


def _all_ask(spec: Obj, names: Iterable[str]) -> bool:
    """Whether each container of a pod that runs nowhere yet asks for all of these resources."""
    containers = (*spec["containers"], *(spec.get("initContainers") or ()))
    asked = [(one.get("resources") or {}).get("requests") or {} for one in containers]
    return "nodeName" not in spec and all(name in one for one in asked for name in names)


def _pod_requests(pod: Obj, missing: Amounts) -> Amounts:
    spec = pod["spec"]
    containers, whole = _resized(pod) if spec.get("nodeName") else ({}, None)
    total: Amounts = {}
    for container in spec["containers"]:
        held = containers.get(container["name"])
        _add(total, _container_requests(container, held, missing))
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            held = containers.get(container["name"])
            asked = _container_requests(container, held, missing)
            _add(total, asked)
            _add(sidecars, asked)
            asked = sidecars
        else:
            asked = _container_requests(container, None, missing)
            _add(asked, sidecars)
        _max(largest, asked)
    _max(total, largest)
    total.update(_pod_level_requests(spec, whole))
    _add(total, _amounts(spec.get("overhead")))
    return total


def _pod_level_requests(spec: Obj, held: Obj | None) -> Amounts:
    asked = {
        name: amount
        for name, amount in _amounts((spec.get("resources") or {}).get("requests")).items()
        if name in ("cpu", "memory") or name.startswith("hugepages-")
    }
    if not asked or held is None:
        return asked
    effective = dict(asked)
    _resize(effective, held)
    return {name: effective.get(name, 0) for name in asked}


def _container_requests(container: Obj, held: Obj | None, missing: Amounts) -> Amounts:
    asked = _amounts((container.get("resources") or {}).get("requests"))
    if held is not None:
        _resize(asked, held)
    for name, amount in missing.items():
        asked.setdefault(name, amount)
    return asked


def _resize(asked: Amounts, held: Obj) -> None:
    """Until a resize is done the larger of the old and the new counts; one that cannot be done does
    not count."""
    if held["infeasible"]:
        asked.clear()
    for quantities in (held["actual"], held["allocated"]):
        _max(asked, _amounts(quantities))


def _resized(pod: Obj) -> tuple[dict[str, Obj], Obj | None]:
    """What the status of a running pod says that its containers hold, by name, and that it holds as
    a whole."""
    status = pod.get("status") or {}
    infeasible = _is_resize_infeasible(status)
    containers = {
        entry["name"]: _held(entry, infeasible)
        for entry in (
            *status.get("containerStatuses", ()),
            *status.get("initContainerStatuses", ()),
        )
        if "resources" in entry
    }
    return containers, _held(status, infeasible) if "resources" in status else None


def _held(status: Obj, infeasible: bool) -> Obj:
    return {
        "actual": status["resources"].get("requests"),
        "allocated": status.get("allocatedResources"),
        "infeasible": infeasible,
    }


def _is_resize_infeasible(status: Obj) -> bool:
    return any(
        c.get("type") == "PodResizePending" and c.get("reason") == "Infeasible"
        for c in status.get("conditions") or ()
    )


def _amounts(quantities: Obj | None) -> Amounts:
    return {name: _amount(name, quantity) for name, quantity in (quantities or {}).items()}


@lru_cache(REMEMBERED)
def _amount(name: str, quantity: Any) -> int:
    """Few quantities are new to a cluster, and parsing one is slow."""
    parsed = Quantity.parse(quantity)
    return parsed.milli() if name == "cpu" else parsed.value()


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _max(total: Amounts, other: Amounts) -> None:
    for name, amount in other.items():
        total[name] = max(total.get(name, 0), amount)
