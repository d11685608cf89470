"""What a claim demands of its devices together: attributes that match, or that all differ."""

from typing import Any

from kybern.scheduler.devices.pools import Device
from kybern.scheduler.devices.requests import AllocationError, Request

Obj = dict[str, Any]


class Constraint:
    """One constraint during a search; ``add`` and ``remove`` come in pairs, last in first out."""

    def __init__(self, attribute: str, requests: list[str], distinct: bool) -> None:
        self._attribute, self._requests, self._distinct = attribute, requests, distinct
        self._values: list[Obj] = []

    def add(self, request: Request, device: Device) -> bool:
        """Take the device in, unless that breaks the constraint."""
        if not request.is_named_by(self._requests):
            return True
        value = attribute(device, self._attribute)
        if value is None:
            return False
        if self._distinct and value in self._values:
            return False
        if not self._distinct and self._values and value != self._values[0]:
            return False
        self._values.append(value)
        return True

    def remove(self, request: Request) -> None:
        if request.is_named_by(self._requests):
            self._values.pop()


def constraints(claim: Obj) -> list[Constraint]:
    """Fresh constraints of a claim; raises AllocationError for one of unknown type."""
    found = []
    for position, held in enumerate(claim["spec"].get("devices", {}).get("constraints") or ()):
        distinct = held.get("matchAttribute") is None
        name = held.get("distinctAttribute") if distinct else held["matchAttribute"]
        if name is None:
            meta = claim["metadata"]
            raise AllocationError(
                f"claim {meta['namespace']}/{meta['name']}, constraint #{position}: "
                "empty constraint (unsupported constraint type?)"
            )
        found.append(Constraint(name, held.get("requests") or [], distinct))
    return found


def attribute(device: Device, name: str) -> Obj | None:
    """A device's attribute by its full name; its driver's own may stand without the domain."""
    held = device.spec.get("attributes") or {}
    if name in held:
        found: Obj = held[name]
        return found
    domain, _, identifier = name.partition("/")
    return held.get(identifier) if domain == device.id[0] else None
