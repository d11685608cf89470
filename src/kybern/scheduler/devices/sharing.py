"""Shared devices: how much of a device's capacity a request takes (KEP 5075)."""

from collections.abc import Mapping
from typing import Any

from kybern.api.quantity import BINARY_SI, Quantity

Obj = dict[str, Any]
Amounts = dict[str, Quantity]

_NANO = 10**9


def consumed(requests: Mapping[str, Any], capacity: Mapping[str, Obj]) -> Amounts | None:
    """What a request takes of each capacity; None if the device's policy does not allow it."""
    if any(name not in capacity for name in requests):
        return None
    taken: Amounts = {}
    for name, held in capacity.items():
        policy = held.get("requestPolicy") or {}
        if name not in requests:
            usual = policy["default"] if "default" in policy else held["value"]
            taken[name] = Quantity.parse(usual)
            continue
        amount = _rounded(Quantity.parse(requests[name]), policy)
        if _violates(amount, policy):
            return None
        taken[name] = amount
    return taken


def fits(taken: Amounts, held: Amounts, capacity: Mapping[str, Obj]) -> bool:
    """Whether the capacities hold what is taken beside what is held already."""
    return all(
        amount.nano + (held[name].nano if name in held else 0)
        <= Quantity.parse(capacity[name]["value"]).nano
        for name, amount in taken.items()
    )


def added(held: Amounts, taken: Amounts) -> Amounts:
    return {**held, **{name: held[name] + n if name in held else n for name, n in taken.items()}}


def _rounded(amount: Quantity, policy: Obj) -> Quantity:
    """Up to the next amount that the policy knows."""
    span = policy.get("validRange")
    if span is not None and span.get("min") is not None:
        least = Quantity.parse(span["min"])
        if amount < least:
            return least
        if span.get("step") is None:
            return amount
        step = Quantity.parse(span["step"]).value()
        steps = -(-(amount.value() - least.value()) // step)
        return Quantity((least.value() + steps * step) * _NANO, BINARY_SI)
    values = [Quantity.parse(value) for value in policy.get("validValues") or ()]
    return next((value for value in values if amount.nano <= value.nano), amount)


def _violates(amount: Quantity, policy: Obj) -> bool:
    if "default" in policy and amount == Quantity.parse(policy["default"]):
        return False
    if (span := policy.get("validRange")) is not None:
        if span.get("max") is not None and amount.nano > Quantity.parse(span["max"]).nano:
            return True
        if span.get("step") is None:
            return False
        least = Quantity.parse(span.get("min", "0")).value()
        return (amount.value() - least) % Quantity.parse(span["step"]).value() != 0
    values = [Quantity.parse(value) for value in policy.get("validValues") or ()]
    return bool(values) and amount not in values
