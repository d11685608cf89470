"""DeviceTaintRule: a taint for the devices that a selector finds."""

from kybern.api.ages import since
from kybern.api.errors import FieldError, Obj, too_many
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import conditions
from kybern.api.validation import devices
from kybern.api.validation.conditions import conditions as check_conditions
from kybern.api.validation.fields import dns_label
from kybern.api.validation.storage import csi_driver_name

_MAX_CONDITIONS = 8


def _taint(rule: Obj) -> Obj:
    held: Obj = (rule.get("spec") or {}).get("taint") or {}
    return held


def _check(rule: Obj) -> list[FieldError]:
    selector = (rule.get("spec") or {}).get("deviceSelector") or {}
    path = "spec.deviceSelector"
    errors: list[FieldError] = []
    if selector.get("driver") is not None:
        errors += csi_driver_name(selector["driver"], f"{path}.driver")
    if selector.get("pool") is not None:
        errors += devices.pool_name(selector["pool"], f"{path}.pool")
    if selector.get("device") is not None:
        errors += dns_label(selector["device"], f"{path}.device")
    return errors + devices.taint(_taint(rule), "spec.taint")


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    held, path = conditions(new), "status.conditions"
    errors = check_conditions(held, path)
    if len(held) > _MAX_CONDITIONS:
        errors.append(too_many(path, len(held), _MAX_CONDITIONS))
    return errors


def _date_taint(rule: Obj, now: str) -> None:
    """A taint without a time counts from the write that brings it."""
    if _taint(rule) and _taint(rule).get("timeAdded") is None:
        _taint(rule)["timeAdded"] = now


def _added(rule: Obj, now: float) -> str:
    return since(_taint(rule).get("timeAdded"), now)


DEVICE_TAINT_RULE = Kind(
    group="resource.k8s.io",
    kind="DeviceTaintRule",
    plural="devicetaintrules",
    versions=("v1beta2", "v1alpha3"),
    storage_version="v1alpha3",
    namespaced=False,
    deprecations={
        "v1alpha3": "resource.k8s.io/v1alpha3 DeviceTaintRule is deprecated in v1.36+, "
        "unavailable in v1.39+"
    },
    subresources=(status_of("DeviceTaintRule"),),
    strategy=Strategy(
        stamp=_date_taint,
        check=_check,
        check_status=_check_status,
        namespaced=False,
        status=True,
        generation=spec_changed,
        resets={"status": (("metadata",), ("spec",))},
    ),
    columns=(
        NAME,
        Column("Key", at("spec", "taint", "key")),
        Column("Value", at("spec", "taint", "value")),
        Column("Effect", at("spec", "taint", "effect")),
        Column("TimeAdded", _added),
        AGE,
    ),
)
