"""The search for devices: every request of every claim gets devices, or none does.

Depth first, in the order of claims, requests, pools, slices and devices; the first solution wins,
as upstream's structured allocator has it, so that drivers steer it by names and order. Within one
request devices are taken in ascending order only, which tries each combination once. ``MAX_STEPS``
bounds a search that does not come to an end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.api.cel import CelError
from kybern.api.cel.device_selectors import matches
from kybern.api.node_fit import tolerates
from kybern.api.quantity import Quantity
from kybern.scheduler.devices import sharing
from kybern.scheduler.devices.allocated import Allocated
from kybern.scheduler.devices.constraints import Constraint, constraints
from kybern.scheduler.devices.pools import Device, DeviceId, Pool
from kybern.scheduler.devices.requests import (
    ALL,
    MAX_RESULTS,
    AllocationError,
    InvalidPools,
    Request,
    alternatives,
    expressions,
)

Obj = dict[str, Any]

MAX_STEPS = 50_000
BLOCKING_EFFECTS = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A device for a request; ``consumed`` of a shared one."""

    request: Request
    device: Device
    consumed: sharing.Amounts | None = None


@dataclass(slots=True)
class _Claim:
    obj: Obj
    requests: list[list[Request]]
    constraints: list[Constraint]
    chosen: list[Chosen] = field(default_factory=list)

    @property
    def name(self) -> str:
        meta = self.obj["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


class Allocator:
    """One attempt for one pod on one node."""

    def __init__(self, pools: Sequence[Pool], classes: Mapping[str, Obj], taken: Allocated) -> None:
        self._pools, self._classes, self._taken = pools, classes, taken
        self._whole: dict[DeviceId, int] = {}
        self._shared: dict[DeviceId, sharing.Amounts] = {}
        self._counters: dict[int, dict[tuple[str, str], Quantity]] = {}
        self._wanted: dict[tuple[str, str, DeviceId], bool] = {}
        self._steps = 0

    def allocate(self, claims: Sequence[Obj]) -> list[list[Chosen]] | None:
        """The devices of each claim, or None; raises AllocationError where it never can work."""
        held = [_Claim(claim, alternatives(claim), constraints(claim)) for claim in claims]
        if not self._claims(held, 0):
            if any(pool.is_invalid for pool in self._pools):
                raise InvalidPools
            return None
        return [claim.chosen for claim in held]

    def _claims(self, claims: list[_Claim], at: int) -> bool:
        if at == len(claims):
            return True
        return self._requests(claims, at, 0)

    def _requests(self, claims: list[_Claim], at: int, position: int) -> bool:
        claim = claims[at]
        if position == len(claim.requests):
            return self._claims(claims, at + 1)
        for request in claim.requests[position]:
            for _ in self._serve(claim, request):
                if self._requests(claims, at, position + 1):
                    return True
        return False

    def _serve(self, claim: _Claim, request: Request) -> Iterator[None]:
        """Each way to serve a request, in effect while the generator rests at it."""
        devices = list(self._selectable(claim, request))
        if request.mode == ALL:
            for pool in self._pools:
                if pool.is_incomplete or pool.is_invalid:
                    state = "invalid" if pool.is_invalid else "being updated"
                    raise AllocationError(
                        f"claim {claim.name}, request {request.name}: asks for all devices, "
                        f"but resource pool {pool.id} is currently {state}"
                    )
            if not devices:
                return
        count = len(devices) if request.mode == ALL else request.count
        if len(claim.chosen) + count <= MAX_RESULTS:
            yield from self._take(claim, request, devices, 0, count)

    def _take(
        self,
        claim: _Claim,
        request: Request,
        devices: list[tuple[Pool, Device]],
        start: int,
        count: int,
    ) -> Iterator[None]:
        if count == 0:
            yield
            return
        for position in range(start, len(devices) - count + 1):
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise AllocationError("gave up the search for devices: too many combinations")
            pool, device = devices[position]
            if not self._grab(claim, request, pool, device):
                continue
            yield from self._take(claim, request, devices, position + 1, count - 1)
            self._drop(claim, pool)

    def _selectable(self, claim: _Claim, request: Request) -> Iterator[tuple[Pool, Device]]:
        """Devices that class and request want, free or not."""
        device_class = self._classes.get(request.class_name)
        if device_class is None:
            raise AllocationError(
                f"request {request.full_name}: device class {request.class_name} does not exist"
            )
        wanted = expressions(device_class["spec"].get("selectors")) + request.selectors
        for pool in self._pools:
            for device in pool.devices:
                key = (claim.name, request.full_name, device.id)
                if key not in self._wanted:
                    self._wanted[key] = self._matches(claim, wanted, device)
                # "All" does not mean devices that are too small for what is asked of each.
                too_small = request.mode == ALL and _amounts(request, device) is None
                if self._wanted[key] and not too_small:
                    yield pool, device

    def _matches(self, claim: _Claim, wanted: Sequence[str], device: Device) -> bool:
        try:
            return all(matches(expression, device.seen()) for expression in wanted)
        except CelError as error:
            raise AllocationError(f"claim {claim.name}: CEL runtime error: {error}") from error

    def _grab(self, claim: _Claim, request: Request, pool: Pool, device: Device) -> bool:
        """Take a device for a request if it is free, untainted and the constraints hold."""
        if not self._is_free(claim, request, device) or _is_tainted(device, request):
            return False
        consumed = self._share(request, device)
        if consumed is None or not self._counts(pool, device):
            return False
        for position, constraint in enumerate(claim.constraints):
            if not constraint.add(request, device):
                if request.mode == ALL:
                    # A constraint that keeps a device out of "all" can never be satisfied.
                    raise AllocationError(
                        f"claim {claim.name}, request {request.name}: cannot add device "
                        f"{'/'.join(device.id)} because a claim constraint would not be satisfied"
                    )
                for earlier in claim.constraints[:position]:
                    earlier.remove(request)
                return False
        claim.chosen.append(Chosen(request, device, consumed if device.is_shared else None))
        if device.is_shared:
            self._shared[device.id] = sharing.added(self._shared.get(device.id, {}), consumed)
        else:
            self._whole[device.id] = self._whole.get(device.id, 0) + 1
        self._spend(pool, device, 1)
        return True

    def _drop(self, claim: _Claim, pool: Pool) -> None:
        """Undo the claim's last grab."""
        given = claim.chosen.pop()
        device = given.device
        for constraint in claim.constraints:
            constraint.remove(given.request)
        self._spend(pool, device, -1)
        if given.consumed is None:
            self._whole[device.id] -= 1
            return
        held = self._shared[device.id]
        left = {name: held[name] - amount for name, amount in given.consumed.items()}
        if any(held_by.device.id == device.id for held_by in claim.chosen) or any(left.values()):
            self._shared[device.id] = left
        else:
            del self._shared[device.id]

    def _is_free(self, claim: _Claim, request: Request, device: Device) -> bool:
        if request.admin:
            # Administrators look at devices in use, though not twice for one claim.
            return all(chosen.device.id != device.id for chosen in claim.chosen)
        return device.id not in self._taken.whole and not self._whole.get(device.id)

    def _share(self, request: Request, device: Device) -> sharing.Amounts | None:
        """What the request takes of the device; None if that is too much."""
        amounts = _amounts(request, device)
        if amounts is None or not device.is_shared:
            return amounts
        held = sharing.added(self._taken.shared.get(device.id, {}), self._shared.get(device.id, {}))
        capacity = device.spec.get("capacity") or {}
        return amounts if sharing.fits(amounts, held, capacity) else None

    def _counts(self, pool: Pool, device: Device) -> bool:
        """Whether the pool's counters have room for a device that takes from them."""
        needed = device.counters()
        in_use = device.id in self._taken.shared or device.id in self._shared
        if not needed or (device.is_shared and in_use):
            return True
        left = self._left(pool)
        return all(left[key].nano >= amount.nano for key, amount in needed.items())

    def _left(self, pool: Pool) -> dict[tuple[str, str], Quantity]:
        if id(pool) not in self._counters:
            left = dict(pool.counters)
            for device in [*pool.devices, *pool.elsewhere]:
                if device.id in self._taken:
                    for key, amount in device.counters().items():
                        left[key] = left[key] - amount
            self._counters[id(pool)] = left
        return self._counters[id(pool)]

    def _spend(self, pool: Pool, device: Device, sign: int) -> None:
        for key, amount in device.counters().items():
            left = self._left(pool)
            left[key] = left[key] - amount * sign


def _amounts(request: Request, device: Device) -> sharing.Amounts | None:
    """What the request would take of the device if nobody else had any of it."""
    capacity = device.spec.get("capacity") or {}
    amounts = sharing.consumed(request.capacity, capacity)
    return amounts if amounts is not None and sharing.fits(amounts, {}, capacity) else None


def _is_tainted(device: Device, request: Request) -> bool:
    return any(
        taint["effect"] in BLOCKING_EFFECTS
        and not any(tolerates(toleration, taint) for toleration in request.tolerations)
        for taint in device.spec.get("taints") or ()
    )
