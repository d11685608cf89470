"""LimitRange."""

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.errors import FieldError, Obj, duplicate, field_forbidden, invalid_value, required
from kybern.api.kinds.columns import CREATED_AT, NAME
from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.quantity import Quantity
from kybern.api.validation.names import is_qualified_name
from kybern.api.validation.resources import container_resource_name, may_overcommit, resource_name

_LISTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def _default(limit_range: Obj) -> None:
    """For containers the default limit is the maximum, the default request the default limit."""
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        for name in _LISTS:
            default_resource_list(item.get(name))
        if item.get("type") != "Container":
            continue
        limits = item.get("default") or {}
        requests = item.get("defaultRequest") or {}
        limits = {**(item.get("max") or {}), **limits}
        requests = {**(item.get("min") or {}), **limits, **requests}
        if limits:
            item["default"] = limits
        if requests:
            item["defaultRequest"] = requests


_STANDARD_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_NOT_FOR_PODS = "may not be specified when `type` is 'Pod'"
# Pairs of which the first may not exceed the second: where it is reported, and in which words.
_ORDERED = (
    ("min", "max", "min", "min value {} is greater than max value {}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", "min value {} is greater than default value {}"),
    ("default", "max", "default", "default value {} is greater than max value {}"),
)
_SHOWN_LAST = (("min", "default"), ("default", "max"))


def _check(limit_range: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    types: set[str] = set()
    for i, item in enumerate((limit_range.get("spec") or {}).get("limits") or ()):
        at, kind = f"spec.limits[{i}]", item.get("type", "")
        for message in _type_messages(kind):
            errors.append(invalid_value(f"{at}.type", kind, message))
        if kind in types:
            errors.append(duplicate(f"{at}.type", kind))
        types.add(kind)
        errors += _check_item(item, kind, at)
    return errors


def _type_messages(kind: str) -> tuple[str, ...]:
    messages = is_qualified_name(kind)
    if messages or "/" in kind or kind in _STANDARD_TYPES:
        return messages
    return ("must be a standard limit type or fully qualified",)


def _check_item(item: Obj, kind: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    check = container_resource_name if kind in ("Pod", "Container") else resource_name
    lists = dict.fromkeys(_LISTS)
    for name in _LISTS:
        held = item.get(name) or {}
        if kind == "Pod" and held and name in ("default", "defaultRequest"):
            errors.append(field_forbidden(f"{path}.{name}", _NOT_FOR_PODS))
            held = {}
        for resource in held:
            errors += check(resource, f"{path}.{name}[{resource}]")
        lists[name] = {resource: Quantity.parse(amount) for resource, amount in held.items()}
    if kind == "PersistentVolumeClaim":
        storage = any("storage" in (item.get(name) or {}) for name in ("min", "max"))
        if not storage:
            text = "either minimum or maximum storage value is required, but neither was provided"
            errors.append(required(f"{path}.limits", text))
    resources = {r: None for held in lists.values() for r in held or ()}
    for resource in resources:
        amounts = {n: held[resource] for n, held in lists.items() if held and resource in held}
        errors += _check_amounts(amounts, resource, path)
    return errors


def _check_amounts(amounts: dict[str, Quantity], resource: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for low, high, reported, text in _ORDERED:
        if low in amounts and high in amounts and amounts[low] > amounts[high]:
            small, great = amounts[low].canonical(), amounts[high].canonical()
            shown = amounts[reported].canonical()
            if (low, high) in _SHOWN_LAST:
                shown = small if low == "min" else great
            at = f"{path}.{reported}[{resource}]"
            errors.append(invalid_value(at, shown, text.format(small, great)))
    ratio = amounts.get("maxLimitRequestRatio")
    if ratio is not None:
        at, shown = f"{path}.maxLimitRequestRatio[{resource}]", ratio.canonical()
        if ratio.milli() < 1000:
            errors.append(invalid_value(at, shown, f"ratio {shown} is less than 1"))
        if "min" in amounts and "max" in amounts and amounts["min"].nano:
            most = amounts["max"].nano / amounts["min"].nano
            if ratio.milli() / 1000 > most:
                text = f"ratio {shown} is greater than max/min = {most:.6f}"
                errors.append(invalid_value(at, shown, text))
    default, request = amounts.get("default"), amounts.get("defaultRequest")
    if not may_overcommit(resource) and None not in (default, request) and default != request:
        text = f"default value {default} must equal to defaultRequest value {request} in {resource}"
        at = f"{path}.defaultRequest[{resource}]"
        errors.append(invalid_value(at, str(request), text))
    return errors


LIMIT_RANGE = Kind(
    group="",
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    strategy=Strategy(check=_check, default=_default, allow_create_on_update=True),
    columns=(NAME, CREATED_AT),
)
