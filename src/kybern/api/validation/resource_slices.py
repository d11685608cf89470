"""Validation of ResourceSlices: the devices that a driver offers, and what they share."""

import re

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    field_not_found,
    invalid_value,
    required,
    too_long,
)
from kybern.api.quantity import Quantity
from kybern.api.validation.affinity import node_selector
from kybern.api.validation.devices import (
    binding_conditions,
    entries,
    items,
    name_of,
    pool_name,
    qualified_device_name,
    short_name,
    taint,
    unique_items,
)
from kybern.api.validation.fields import dns_label, dns_subdomain
from kybern.api.validation.metadata import immutable
from kybern.api.validation.resources import is_native, quantity
from kybern.api.validation.volumes import csi_driver_name

_MAX_DEVICES = 128
_MAX_ADVANCED_DEVICES = 64
_MAX_COUNTER_SETS = 8
_MAX_COUNTERS = 32
_MAX_CONSUMPTIONS = 2
_MAX_PROPERTIES = 32
_MAX_VALUES = 48
_MAX_VALUE_BYTES = 64
_MAX_TAINTS = 16
_MAX_OPTIONS = 10
_UNBOUNDED = 1 << 31
_LISTS = ("bools", "ints", "strings", "versions")
_SCALARS = ("bool", "int", "string", "version")
_NUMBER = r"(0|[1-9]\d*)"
_PRERELEASE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = "[0-9a-zA-Z-]+"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?"
    rf"(\+{_BUILD}(\.{_BUILD})*)?",
    re.ASCII,
).fullmatch
_NODES = (
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
)
_DEVICE_NODES = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
    "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
)
_TRUE_OR_UNSET = "must be either unset or set to true"


def check_slice(resource_slice: Obj) -> list[FieldError]:
    spec = resource_slice.get("spec") or {}
    errors = csi_driver_name(spec.get("driver", ""), "spec.driver")
    errors += _pool(spec.get("pool") or {}, "spec.pool")
    errors += _slice_nodes(spec, "spec")
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        text = "only one of `sharedCounters` or `devices` is allowed"
        errors.append(invalid_value("spec", "", text))
    per_device = spec.get("perDeviceNodeSelection") is True
    devices = spec.get("devices") or []
    limit = _MAX_ADVANCED_DEVICES if any(map(_is_advanced, devices)) else _MAX_DEVICES
    errors += unique_items(
        devices, limit, lambda held, at: _device(held, per_device, at), "spec.devices", name_of
    )
    return errors + unique_items(
        spec.get("sharedCounters"), _MAX_COUNTER_SETS, _counter_set, "spec.sharedCounters", name_of
    )


def check_slice_update(new: Obj, old: Obj) -> list[FieldError]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors = immutable(
        (after.get("pool") or {}).get("name"), before["pool"].get("name"), "spec.pool.name"
    )
    for name in ("driver", "nodeName"):
        errors += immutable(after.get(name), before.get(name), f"spec.{name}")
    return errors


def driver_warnings(resource_slice: Obj) -> list[str]:
    driver = (resource_slice.get("spec") or {}).get("driver", "")
    if driver == driver.lower():
        return []
    shown = f'"{driver}"'
    return [f"spec.driver: driver names should be lowercase; {shown} contains uppercase characters"]


def _is_advanced(device: Obj) -> bool:
    """Whether a device has what costs the allocator more, so that a slice may hold fewer."""
    if device.get("taints") or device.get("consumesCounters"):
        return True
    attributes = (device.get("attributes") or {}).values()
    return any(held.get(name) is not None for held in attributes for name in _LISTS)


def _pool(pool: Obj, path: str) -> list[FieldError]:
    errors = pool_name(pool.get("name", ""), f"{path}.name")
    count, generation = pool.get("resourceSliceCount", 0), pool.get("generation", 0)
    if count <= 0:
        at = f"{path}.resourceSliceCount"
        errors.append(invalid_value(at, count, "must be greater than zero"))
    if generation < 0:
        text = "must be greater than or equal to zero"
        errors.append(invalid_value(f"{path}.generation", generation, text))
    return errors


def _slice_nodes(spec: Obj, path: str) -> list[FieldError]:
    chosen, errors = _chosen_nodes(spec, path, "must be either unset or set to a non-empty string")
    terms = (spec.get("nodeSelector") or {}).get("nodeSelectorTerms")
    if spec.get("nodeSelector") is not None and len(terms or ()) != 1:
        text = "must have exactly one node selector term"
        errors.append(invalid_value(f"{path}.nodeSelector.nodeSelectorTerms", terms, text))
    if spec.get("perDeviceNodeSelection"):
        chosen.append("`perDeviceNodeSelection`")
    elif spec.get("perDeviceNodeSelection") is False:
        at = f"{path}.perDeviceNodeSelection"
        errors.append(invalid_value(at, False, _TRUE_OR_UNSET))
    return errors + _one_chosen(chosen, path, _NODES)


def _chosen_nodes(held: Obj, path: str, empty: str) -> tuple[list[str], list[FieldError]]:
    """Which ways of naming nodes are taken, and whether they are taken rightly."""
    chosen: list[str] = []
    errors: list[FieldError] = []
    name = held.get("nodeName")
    if name:
        chosen.append("`nodeName`")
        errors += dns_subdomain(name, f"{path}.nodeName")
    elif name is not None:
        errors.append(invalid_value(f"{path}.nodeName", name, empty))
    if held.get("nodeSelector") is not None:
        chosen.append("`nodeSelector`")
        errors += node_selector(held["nodeSelector"], f"{path}.nodeSelector")
    if held.get("allNodes"):
        chosen.append("`allNodes`")
    elif held.get("allNodes") is False:
        errors.append(invalid_value(f"{path}.allNodes", False, _TRUE_OR_UNSET))
    return chosen, errors


def _one_chosen(chosen: list[str], path: str, text: str) -> list[FieldError]:
    if not chosen:
        return [required(path, text)]
    if len(chosen) == 1:
        return []
    shown = "{" + ", ".join(chosen) + "}"
    return [invalid_value(path, shown, f"{text}, but multiple fields are set")]


def _device(device: Obj, per_device: bool, path: str) -> list[FieldError]:
    errors = dns_label(name_of(device), f"{path}.name")
    errors += _sizes(device, path)
    attributes, capacity = device.get("attributes"), device.get("capacity")
    errors += entries(
        attributes, _UNBOUNDED, qualified_device_name, _attribute, f"{path}.attributes"
    )
    check = _shared_capacity if device.get("allowMultipleAllocations") else _whole_capacity
    errors += entries(capacity, _UNBOUNDED, qualified_device_name, check, f"{path}.capacity")
    errors += items(device.get("taints"), _MAX_TAINTS, taint, f"{path}.taints")
    errors += unique_items(
        device.get("consumesCounters"),
        _MAX_CONSUMPTIONS,
        _consumption,
        f"{path}.consumesCounters",
        lambda held: held.get("counterSet", ""),
    )
    errors += _device_nodes(device, per_device, path)
    errors += binding_conditions(device, path)
    return errors + _node_resources(device, f"{path}.nodeAllocatableResourceMappings")


def _sizes(device: Obj, path: str) -> list[FieldError]:
    attributes = device.get("attributes") or {}
    count = len(attributes) + len(device.get("capacity") or ())
    errors: list[FieldError] = []
    if count > _MAX_PROPERTIES:
        text = "the total number of attributes and capacities must not exceed "
        errors.append(invalid_value(path, count, f"{text}{_MAX_PROPERTIES}"))
    values = 0
    for held in attributes.values():
        values += sum(len(held.get(name) or ()) for name in _LISTS) or 1
    if values > _MAX_VALUES:
        text = f"the total number of attribute values must not exceed {_MAX_VALUES}"
        errors.append(invalid_value(path, values, text))
    return errors


def _device_nodes(device: Obj, per_device: bool, path: str) -> list[FieldError]:
    if per_device:
        chosen, errors = _chosen_nodes(device, path, "must not be empty")
        if len(chosen) > 1:
            shown = "{" + ", ".join(chosen) + "}"
            return [*errors, invalid_value(path, shown, _DEVICE_NODES)]
        return errors if chosen else [*errors, required(path, _DEVICE_NODES)]
    if all(device.get(name) is None for name in ("nodeName", "nodeSelector", "allNodes")):
        return []
    text = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` "
    text += "is set to true in the ResourceSlice spec"
    return [invalid_value(path, None, text)]


def _node_resources(device: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, mapping in (device.get("nodeAllocatableResourceMappings") or {}).items():
        at = f"{path}[{name}]"
        if not is_native(name):
            errors.append(invalid_value(at, name, "must be a node allocatable resource name"))
        multiplier, key = mapping.get("allocationMultiplier"), mapping.get("capacityKey")
        if multiplier is None and key is None:
            text = "at least one of allocationMultiplier or capacityKey must be set"
            errors.append(invalid_value(at, "", text))
        if multiplier is not None and not quantity(0) < quantity(multiplier):
            where = f"{at}.allocationMultiplier"
            errors.append(invalid_value(where, str(multiplier), "must be positive"))
        if key == "":
            text = "capacityKey must not be an empty string"
            errors.append(invalid_value(f"{at}.capacityKey", "", text))
        elif key is not None and key not in (device.get("capacity") or {}):
            errors.append(field_not_found(f"{at}.capacityKey", key))
    return errors


def _attribute(attribute: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if attribute.get("string") is not None:
        errors += _text_value(attribute["string"], f"{path}.string")
    if attribute.get("version") is not None:
        errors += _version_value(attribute["version"], f"{path}.version")
    for name in _LISTS:
        if attribute.get(name) == []:
            errors.append(invalid_value(f"{path}.{name}", [], "must not be empty if specified"))
    for i, value in enumerate(attribute.get("strings") or ()):
        errors += _text_value(value, f"{path}.strings[{i}]")
    for i, value in enumerate(attribute.get("versions") or ()):
        errors += _version_value(value, f"{path}.versions[{i}]")
    given = [name for name in (*_SCALARS, *_LISTS) if attribute.get(name) is not None]
    if len(given) != 1:
        shown = attribute if given else ""
        errors.append(invalid_value(path, shown, "exactly one value must be specified"))
    return errors


def _text_value(value: str, path: str) -> list[FieldError]:
    return [too_long(path, _MAX_VALUE_BYTES)] if len(value.encode()) > _MAX_VALUE_BYTES else []


def _version_value(value: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not _SEMVER(value):
        text = "must be a string compatible with semver.org spec 2.0.0"
        errors.append(invalid_value(path, value, text))
    return errors + _text_value(value, path)


def _counter_set(counter_set: Obj, path: str) -> list[FieldError]:
    errors = short_name(name_of(counter_set), f"{path}.name")
    return errors + _counters(counter_set, path)


def _consumption(consumption: Obj, path: str) -> list[FieldError]:
    errors = short_name(consumption.get("counterSet", ""), f"{path}.counterSet")
    return errors + _counters(consumption, path)


def _counters(held: Obj, path: str) -> list[FieldError]:
    if not held.get("counters"):
        return [required(f"{path}.counters")]
    # Any amount will do: it was parsed when the object was decoded.
    return entries(
        held["counters"], _MAX_COUNTERS, dns_label, lambda counter, at: [], f"{path}.counters"
    )


def _whole_capacity(capacity: Obj, path: str) -> list[FieldError]:
    if capacity.get("requestPolicy") is None:
        return []
    return [field_forbidden(f"{path}.requestPolicy", "allowMultipleAllocations must be true")]


def _shared_capacity(capacity: Obj, path: str) -> list[FieldError]:
    """What may be asked of a capacity that several claims share: listed values, or a range."""
    policy, at = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return []
    values, valid_range = policy.get("validValues"), policy.get("validRange")
    if values and valid_range is not None:
        text = 'exactly one policy can be specified, cannot specify "validValues" and '
        text += '"validRange" at the same time'
        return [field_forbidden(at, text)]
    if not values and valid_range is None:
        return []
    name = "validValues" if values else "validRange"
    if policy.get("default") is None:
        return [required(f"{at}.default", f"required when {name} is defined")]
    default, most = quantity(policy["default"]), quantity(capacity.get("value", 0))
    if values:
        return _options([quantity(value) for value in values], default, most, f"{at}.{name}")
    return _range(valid_range, default, most, f"{at}.{name}")


def _options(
    values: list[Quantity], default: Quantity, most: Quantity, path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    for i in range(1, len(values)):
        if values[i] < values[i - 1]:
            text = "values must be sorted in ascending order"
            errors.append(invalid_value(f"{path}[{i}]", str(values[i]), text))

    def within(option: Quantity, at: str) -> list[FieldError]:
        text = f"option is larger than capacity value: {most}"
        return [invalid_value(at, str(option), text)] if most < option else []

    errors += unique_items(values, _MAX_OPTIONS, within, path, lambda option: str(option.value()))
    if default not in values or len(values) > _MAX_OPTIONS:
        text = "default value is not valid according to the requestPolicy"
        errors.append(invalid_value(path, str(default), text))
    return errors


def _range(held: Obj, default: Quantity, most: Quantity, path: str) -> list[FieldError]:
    if held.get("min") is None:
        return [required(f"{path}.min", "required when validRange is defined")]
    low = quantity(held["min"])
    high = None if held.get("max") is None else quantity(held["max"])
    step = None if held.get("step") is None else quantity(held["step"])
    found: list[tuple[bool, str, Quantity, str]] = [
        (most < low, "min", low, f"min is larger than capacity value: {most}"),
        (default < low, "min", default, f"default is less than min: {low}"),
    ]
    if high is not None:
        found += [
            (high < low, "max", low, f"min is larger than max: {high}"),
            (most < high, "max", high, f"max is larger than capacity value: {most}"),
            (high < default, "max", default, f"default is more than max: {high}"),
        ]
    if step is not None:
        text = f"one step {low + step} is larger than capacity value: {most}"
        found.append((most < low + step, "step", step, text))
        for value in (default, high):
            if value is not None and step.value():
                text = f"value is not a multiple of a given step ({step}) from ({low})"
                off = (value.value() - low.value()) % step.value() != 0
                found.append((off, "step", value, text))
    return [
        invalid_value(f"{path}.{name}", str(value), text)
        for wrong, name, value, text in found
        if wrong
    ]
