"""What a pod as a whole requests and is limited to.

Init containers run one after the other before the rest, so the largest of them counts; sidecars
(restartable init containers) run along with everything after them. Pod-level resources override
the sum for cpu and memory. LimitRanger, quotas and whoever accounts for pods use these.
"""

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity

Amounts = dict[str, Quantity]
_POD_LEVEL = ("cpu", "memory")
_HUGE_PAGES = "hugepages-"


def pod_requests(pod: Obj, *, overhead: bool = True) -> Amounts:
    return _total(pod, "requests", overhead)


def pod_limits(pod: Obj, *, overhead: bool = True) -> Amounts:
    return _total(pod, "limits", overhead)


def amounts(listed: Obj | None) -> Amounts:
    """A resource list with its quantities parsed."""
    return {name: Quantity.parse(value) for name, value in (listed or {}).items()}


def add(total: Amounts, more: Amounts) -> None:
    """Add in place."""
    for name, quantity in more.items():
        total[name] = total[name] + quantity if name in total else quantity


def at_least(total: Amounts, other: Amounts) -> None:
    """Raise each amount to the other's, in place."""
    for name, quantity in other.items():
        if name not in total or quantity > total[name]:
            total[name] = quantity


def _total(pod: Obj, side: str, overhead: bool) -> Amounts:
    spec = pod["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or []:
        add(total, _of(container, side))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or []:
        own = _of(container, side)
        if container.get("restartPolicy") == "Always":
            add(total, own)
            add(sidecars, own)
            own = dict(sidecars)
        else:
            add(own, sidecars)
        at_least(peak, own)
    at_least(total, peak)
    for name, quantity in amounts((spec.get("resources") or {}).get(side)).items():
        if name in _POD_LEVEL or name.startswith(_HUGE_PAGES):
            total[name] = quantity
    if overhead:
        _add_overhead(total, amounts(spec.get("overhead")), side)
    return total


def _add_overhead(total: Amounts, overhead: Amounts, side: str) -> None:
    """Overhead adds to every request, but only to limits that exist: no limit stays no limit."""
    if side == "limits":
        overhead = {name: quantity for name, quantity in overhead.items() if total.get(name)}
    add(total, overhead)


def _of(container: Obj, side: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(side))
