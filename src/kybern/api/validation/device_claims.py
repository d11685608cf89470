"""Validation of DeviceClasses, ResourceClaims and ResourceClaimTemplates."""

import re
from collections.abc import Mapping

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
)
from kybern.api.validation.addresses import WRONG_CIDR
from kybern.api.validation.affinity import node_selector
from kybern.api.validation.devices import (
    MAX_CONFIGS,
    MAX_PARAMETER_BYTES,
    MAX_SELECTORS,
    binding_conditions,
    configuration,
    fully_qualified_device_name,
    items,
    name_of,
    pool_name,
    raw_object,
    selector,
    toleration,
    unique_items,
)
from kybern.api.validation.fields import dns_label, dns_subdomain
from kybern.api.validation.metadata import annotations, immutable, labels
from kybern.api.validation.resources import is_extended
from kybern.api.validation.volumes import csi_driver_name

_MAX_REQUESTS = 32
_MAX_ALTERNATIVES = 8
_MAX_CONSTRAINTS = 32
_MAX_RESERVATIONS = 256
_MAX_CONDITIONS = 8
_MODES = ("All", "ExactCount")
_SOURCES = ("FromClaim", "FromClass")
_UNKNOWN_REQUEST = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

Names = Mapping[str, frozenset[str]]


def check_device_class(device_class: Obj) -> list[FieldError]:
    spec = device_class.get("spec") or {}
    errors = items(spec.get("selectors"), MAX_SELECTORS, selector, "spec.selectors")
    errors += items(spec.get("config"), MAX_CONFIGS, configuration, "spec.config")
    extended = spec.get("extendedResourceName")
    if extended is not None and not is_extended(extended):
        text = "must be a valid extended resource name"
        errors.append(invalid_value("spec.extendedResourceName", extended, text))
    return errors


def check_claim(claim: Obj) -> list[FieldError]:
    return _claim_spec(claim.get("spec") or {}, "spec")


def check_claim_update(new: Obj, old: Obj) -> list[FieldError]:
    return immutable(new.get("spec"), old.get("spec"), "spec")


def check_claim_template(template: Obj) -> list[FieldError]:
    spec = template.get("spec") or {}
    meta = spec.get("metadata") or {}
    errors = labels(meta.get("labels") or {}, "spec.metadata.labels")
    errors += annotations(meta.get("annotations") or {}, "spec.metadata.annotations")
    return errors + _claim_spec(spec.get("spec") or {}, "spec.spec")


def _claim_spec(spec: Obj, path: str) -> list[FieldError]:
    devices, at = spec.get("devices") or {}, f"{path}.devices"
    requests = devices.get("requests")
    names = _request_names(requests or [])
    errors = unique_items(requests, _MAX_REQUESTS, _request, f"{at}.requests", name_of)
    errors += items(
        devices.get("constraints"),
        _MAX_CONSTRAINTS,
        lambda held, where: _constraint(held, names, where),
        f"{at}.constraints",
    )
    return errors + items(
        devices.get("config"),
        MAX_CONFIGS,
        lambda held, where: _claim_configuration(held, names, where),
        f"{at}.config",
    )


def _request_names(requests: list[Obj]) -> Names:
    """The names of requests, each with those of its alternatives."""
    return {
        name_of(request): frozenset(name_of(sub) for sub in request.get("firstAvailable") or ())
        for request in requests
    }


def _request(request: Obj, path: str) -> list[FieldError]:
    errors = dns_label(name_of(request), f"{path}.name")
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable")
    if exactly is not None and alternatives:
        text = f"{_ONE_OF}, but multiple fields are set"
        errors.append(invalid_value(path, None, text))
    elif alternatives:
        at = f"{path}.firstAvailable"
        errors += unique_items(alternatives, _MAX_ALTERNATIVES, _alternative, at, name_of)
    elif exactly is not None:
        errors += _exact_request(exactly, f"{path}.exactly")
    else:
        errors.append(required(path, _ONE_OF))
    return errors


def _alternative(request: Obj, path: str) -> list[FieldError]:
    return dns_label(name_of(request), f"{path}.name") + _exact_request(request, path)


def _exact_request(request: Obj, path: str) -> list[FieldError]:
    device_class = request.get("deviceClassName", "")
    if device_class:
        errors = dns_subdomain(device_class, f"{path}.deviceClassName")
    else:
        errors = [required(f"{path}.deviceClassName")]
    errors += items(request.get("selectors"), MAX_SELECTORS, selector, f"{path}.selectors")
    errors += _allocation_mode(request.get("allocationMode", ""), request.get("count", 0), path)
    for i, held in enumerate(request.get("tolerations") or ()):
        errors += toleration(held, f"{path}.tolerations[{i}]")
    return errors


def _allocation_mode(mode: str, count: int, path: str) -> list[FieldError]:
    if mode not in _MODES:
        return [not_supported(f"{path}.allocationMode", mode, _MODES)]
    if mode == "All" and count:
        text = "must not be specified when allocationMode is 'All'"
        return [invalid_value(f"{path}.count", count, text)]
    if mode == "ExactCount" and count <= 0:
        return [invalid_value(f"{path}.count", count, "must be greater than zero")]
    return []


def _constraint(constraint: Obj, names: Names, path: str) -> list[FieldError]:
    errors = _request_references(constraint, names, path)
    for name in ("matchAttribute", "distinctAttribute"):
        if constraint.get(name) is not None:
            return errors + fully_qualified_device_name(constraint[name], f"{path}.{name}")
    text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple '
    text += "fields are set"
    return [*errors, required(path, text)]


def _claim_configuration(held: Obj, names: Names, path: str) -> list[FieldError]:
    return _request_references(held, names, path) + configuration(held, path)


def _request_references(held: Obj, names: Names, path: str) -> list[FieldError]:
    return unique_items(
        held.get("requests"),
        _MAX_REQUESTS,
        lambda name, where: _request_reference(name, names, where),
        f"{path}.requests",
    )


def _request_reference(name: str, names: Names, path: str) -> list[FieldError]:
    parts = name.split("/")
    if len(parts) > 2:
        return [invalid_value(path, name, _UNKNOWN_REQUEST)]
    errors = [error for part in parts for error in dns_label(part, path)]
    known = parts[0] in names and (len(parts) == 1 or parts[1] in names[parts[0]])
    return errors if known else [*errors, invalid_value(path, name, _UNKNOWN_REQUEST)]


def check_claim_status(new: Obj, old: Obj) -> list[FieldError]:
    status, before = new.get("status") or {}, old.get("status") or {}
    requests = ((new.get("spec") or {}).get("devices") or {}).get("requests") or []
    reserved = status.get("reservedFor") or []
    errors = unique_items(
        reserved, _MAX_RESERVATIONS, _consumer, "status.reservedFor", lambda c: c.get("uid", "")
    )
    allocation = status.get("allocation")
    errors += _device_statuses(status.get("devices") or [], allocation)
    if reserved and allocation is None:
        text = "may not be specified when `allocated` is not set"
        errors.append(field_forbidden("status.reservedFor", text))
    elif new["metadata"].get("deletionTimestamp") and any(
        consumer not in (before.get("reservedFor") or ()) for consumer in reserved
    ):
        text = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` "
        errors.append(field_forbidden("status.reservedFor", text + "are set"))
    if allocation is None:
        return errors
    if before.get("allocation") is not None:
        return errors + immutable(allocation, before["allocation"], "status.allocation")
    return errors + _allocation(allocation, _request_names(requests), "status.allocation")


def _consumer(consumer: Obj, path: str) -> list[FieldError]:
    needed = ("resource", "name", "uid")
    return [required(f"{path}.{name}") for name in needed if not consumer.get(name)]


def _allocation(allocation: Obj, names: Names, path: str) -> list[FieldError]:
    devices, at = allocation.get("devices") or {}, f"{path}.devices"
    errors = items(
        devices.get("results"),
        _MAX_REQUESTS,
        lambda held, where: _result(held, names, where),
        f"{at}.results",
    )
    errors += items(
        devices.get("config"),
        2 * MAX_CONFIGS,
        lambda held, where: _allocated_configuration(held, names, where),
        f"{at}.config",
    )
    if allocation.get("nodeSelector") is not None:
        errors += node_selector(allocation["nodeSelector"], f"{path}.nodeSelector")
    return errors


def _result(result: Obj, names: Names, path: str) -> list[FieldError]:
    errors = _request_reference(result.get("request", ""), names, f"{path}.request")
    errors += csi_driver_name(result.get("driver", ""), f"{path}.driver")
    errors += pool_name(result.get("pool", ""), f"{path}.pool")
    errors += dns_label(result.get("device", ""), f"{path}.device")
    errors += binding_conditions(result, path)
    return errors + _share(result.get("shareID"), f"{path}.shareID")


def _allocated_configuration(held: Obj, names: Names, path: str) -> list[FieldError]:
    source, at = held.get("source", ""), f"{path}.source"
    errors: list[FieldError] = []
    if not source:
        errors.append(required(at))
    elif source not in _SOURCES:
        errors.append(not_supported(at, source, ("FromClaim", "FromClass")))
    return errors + _claim_configuration(held, names, path)


def _share(uid: str | None, path: str) -> list[FieldError]:
    if uid is None or _UUID(uid):
        return []
    text = "error validating uid: invalid UUID length: " + str(len(uid))
    if len(uid) == 36:
        text = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` "
        text += "with lowercase hexadecimal characters"
    return [invalid_value(path, uid, text)]


def _device_id(held: Obj) -> str:
    parts = [held.get(name, "") for name in ("driver", "pool", "device")]
    return "/".join([*parts, held["shareID"]] if held.get("shareID") else parts)


def _device_statuses(held: list[Obj], allocation: Obj | None) -> list[FieldError]:
    results = ((allocation or {}).get("devices") or {}).get("results") or ()
    allocated = {_device_id(result) for result in results}
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, device in enumerate(held):
        path, known = f"status.devices[{i}]", _device_id(device)
        errors += csi_driver_name(device.get("driver", ""), f"{path}.driver")
        errors += pool_name(device.get("pool", ""), f"{path}.pool")
        errors += dns_label(device.get("device", ""), f"{path}.device")
        errors += _share(device.get("shareID"), f"{path}.shareID")
        if known not in allocated:
            text = "must be an allocated device in the claim"
            errors.append(invalid_value(path, known, text))
        errors += _device_report(device, path)
        if known in seen:
            errors.append(duplicate(path, known))
        seen.add(known)
    return errors


def _device_report(device: Obj, path: str) -> list[FieldError]:
    """What a driver says of a device: conditions, data of its own, the network's."""
    count = len(device.get("conditions") or ())
    errors: list[FieldError] = []
    if count > _MAX_CONDITIONS:
        errors.append(too_many(f"{path}.conditions", count, _MAX_CONDITIONS))
    if device.get("data") is not None:
        errors += raw_object(device["data"], f"{path}.data", MAX_PARAMETER_BYTES)
    network, at = device.get("networkData") or {}, f"{path}.networkData"
    for name, limit in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len(network.get(name, "")) > limit:
            errors.append(too_long(f"{at}.{name}", limit))
    return errors + unique_items(network.get("ips"), 16, _interface_address, f"{at}.ips")


def _interface_address(text: str, path: str) -> list[FieldError]:
    return [] if "/" in text else [invalid_value(path, text, WRONG_CIDR)]
