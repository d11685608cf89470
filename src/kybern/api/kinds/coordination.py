"""Lease."""

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value, not_supported
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.fields import qualified_name

_STRATEGIES = ("OldestEmulationVersion",)


_COORDINATED = ("strategy", "preferredHolder")


def _create(lease: Obj) -> None:
    """Coordinated leader election is behind a gate that is off by default."""
    for name in _COORDINATED:
        (lease.get("spec") or {}).pop(name, None)


def _update(new: Obj, old: Obj) -> None:
    held = old.get("spec") or {}
    if not any(held.get(name) for name in _COORDINATED):
        _create(new)


def _check(lease: Obj) -> list[FieldError]:
    spec = lease.get("spec") or {}
    errors: list[FieldError] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        text = "must be greater than 0"
        errors.append(invalid_value("spec.leaseDurationSeconds", seconds, text))
    if transitions is not None and transitions < 0:
        text = "must be greater than or equal to 0"
        errors.append(invalid_value("spec.leaseTransitions", transitions, text))
    strategy = spec.get("strategy")
    if strategy is not None:
        if "/" in strategy:
            errors += qualified_name(strategy, "spec.strategy.strategy")
        elif strategy not in _STRATEGIES:
            errors.append(not_supported("spec.strategy.strategy", strategy, _STRATEGIES))
    if spec.get("preferredHolder") and not strategy:
        text = "may only be specified if `strategy` is defined"
        errors.append(field_forbidden("spec.preferredHolder", text))
    return errors


LEASE = Kind(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    strategy=Strategy(
        any_finalizer=True,
        create=_create,
        update=_update,
        check=_check,
        allow_create_on_update=True,
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("Holder", at("spec", "holderIdentity")), AGE),
)
