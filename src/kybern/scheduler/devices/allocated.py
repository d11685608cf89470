"""What claims hold already: whole devices, and parts of shared ones."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kybern.api.quantity import Quantity
from kybern.api.resource_claims import results
from kybern.scheduler.devices.pools import DeviceId
from kybern.scheduler.devices.sharing import Amounts, added

Obj = dict[str, Any]


@dataclass(slots=True)
class Allocated:
    """``whole`` devices are gone, of ``shared`` ones the amounts are."""

    whole: set[DeviceId] = field(default_factory=set)
    shared: dict[DeviceId, Amounts] = field(default_factory=dict)

    def __contains__(self, device: DeviceId) -> bool:
        return device in self.whole or device in self.shared


def allocated(claims: Iterable[Obj]) -> Allocated:
    """Over all claims; access for administrators takes nothing from anybody."""
    state = Allocated()
    for claim in claims:
        for result in results(claim):
            if result.get("adminAccess"):
                continue
            device = (result["driver"], result["pool"], result["device"])
            if result.get("shareID") is None:
                state.whole.add(device)
                continue
            taken = {
                name: Quantity.parse(amount)
                for name, amount in (result.get("consumedCapacity") or {}).items()
            }
            state.shared[device] = added(state.shared.get(device, {}), taken)
    return state
