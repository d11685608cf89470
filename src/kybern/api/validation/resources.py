"""Validation of resource names, amounts, and the requests and limits of containers."""

from functools import lru_cache
from typing import Any

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    field_not_found,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.quantity import Quantity
from kybern.api.validation.fields import NOT_NEGATIVE, dns_label
from kybern.api.validation.names import is_qualified_name

CONTAINER_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
STANDARD_RESOURCES = CONTAINER_RESOURCES | {
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
}
INTEGER_RESOURCES = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
HUGE_PAGES = "hugepages-"
_NATIVE = "kubernetes.io/"


def is_native(name: str) -> bool:
    return "/" not in name or _NATIVE in name


@lru_cache(2048)
def is_extended(name: str) -> bool:
    """A resource of somebody's own domain, such as ``example.com/gpu``."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not is_qualified_name("requests." + name)


def may_overcommit(name: str) -> bool:
    return is_native(name) and not name.startswith(HUGE_PAGES)


@lru_cache(2048)
def _resource_name(name: str) -> tuple[str, ...]:
    messages = is_qualified_name(name)
    known = "/" in name or name in STANDARD_RESOURCES or name.startswith(HUGE_PAGES)
    return (
        messages if messages or known else ("must be a standard resource type or fully qualified",)
    )


@lru_cache(2048)
def _container_resource_name(name: str) -> tuple[str, ...]:
    messages = _resource_name(name)
    if "/" not in name:
        if name not in CONTAINER_RESOURCES and not name.startswith(HUGE_PAGES):
            return (*messages, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        return (*messages, "doesn't follow extended resource name standard")
    return messages


def resource_name(name: str, path: str) -> list[FieldError]:
    return [invalid_value(path, name, message) for message in _resource_name(name)]


def container_resource_name(name: str, path: str) -> list[FieldError]:
    return [invalid_value(path, name, message) for message in _container_resource_name(name)]


def quantity(value: Any) -> Quantity:
    """An amount that the schema has already accepted."""
    return Quantity.parse(value)


def resource_amount(name: str, value: Any, path: str) -> list[FieldError]:
    """Amounts are not negative, and whole where the resource can only be counted."""
    amount = Quantity.parse(value)
    errors: list[FieldError] = []
    if amount.nano < 0:
        errors.append(invalid_value(path, amount.canonical(), NOT_NEGATIVE))
    if (name in INTEGER_RESOURCES or is_extended(name)) and amount.milli() % 1000:
        errors.append(invalid_value(path, amount.canonical(), "must be an integer"))
    return errors


def container_resources(
    resources: Obj | None, claim_names: set[str], path: str
) -> list[FieldError]:
    """``resources`` of a container: names, amounts, requests within limits, claims."""
    if not resources:
        return []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    errors: list[FieldError] = []
    for name, value in limits.items():
        errors += _amount(name, value, f"{path}.limits[{name}]")
    for name, value in requests.items():
        errors += _amount(name, value, f"{path}.requests[{name}]")
        errors += _within_limit(name, value, limits.get(name), path)
    used = {*limits, *requests}
    if any(n.startswith(HUGE_PAGES) for n in used) and not used & {"cpu", "memory"}:
        errors.append(field_forbidden(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        errors += _claims(resources["claims"], claim_names, f"{path}.claims")
    return errors


def pod_resources(resources: Obj, path: str) -> list[FieldError]:
    """``spec.resources`` of a pod, which covers cpu, memory and huge pages alone."""
    errors: list[FieldError] = []
    if resources.get("claims"):
        text = "claims may not be set for Resources at pod-level"
        errors.append(field_forbidden(f"{path}.claims", text))
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    supported = ("cpu", "hugepages-", "memory")
    for group, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            at = f"{path}.{group}[{name}]"
            if name not in ("cpu", "memory") and not name.startswith(HUGE_PAGES):
                errors.append(not_supported(at, name, supported))
            errors += resource_amount(name, value, at)
            if group == "requests":
                errors += _within_limit(name, value, limits.get(name), path)
    return errors


def _amount(name: str, value: Any, path: str) -> list[FieldError]:
    errors = [invalid_value(path, name, m) for m in _container_resource_name(name)]
    errors += resource_amount(name, value, path)
    if name.startswith(HUGE_PAGES) and not errors:
        errors += _huge_pages(name, value, path)
    return errors


def _huge_pages(name: str, value: Any, path: str) -> list[FieldError]:
    amount = Quantity.parse(value)
    try:
        page = Quantity.parse(name.removeprefix(HUGE_PAGES))
    except ValueError as error:
        return [invalid_value(path, amount.canonical(), str(error))]
    if page.nano <= 0 or amount.nano % page.nano:
        text = f"{amount.canonical()} is not positive integer multiple of {page.canonical()}"
        return [invalid_value(path, amount.canonical(), text)]
    return []


def _within_limit(name: str, value: Any, limit: Any, path: str) -> list[FieldError]:
    if limit is None:
        if may_overcommit(name):
            return []
        text = "Limit must be set for non overcommitable resources"
        return [required(f"{path}.limits", text)]
    if value == limit:
        return []
    amount, most = Quantity.parse(value), Quantity.parse(limit)
    if amount != most and not may_overcommit(name):
        text = f"must be equal to {name} limit of {most.canonical()}"
    elif amount > most:
        text = f"must be less than or equal to {name} limit of {most.canonical()}"
    else:
        return []
    return [invalid_value(f"{path}.requests", amount.canonical(), text)]


def _claims(claims: list[Obj], claim_names: set[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        name, at = claim.get("name", ""), f"{path}[{i}]"
        if not name:
            errors.append(required(at))
            continue
        key = name
        if claim.get("request"):
            errors += dns_label(claim["request"], f"{at}.request")
            key += "/" + claim["request"]
        whole = key == name and any(other.startswith(name + "/") for other in seen)
        if name in seen or whole:
            errors.append(duplicate(at, name))
        elif key in seen:
            errors.append(duplicate(at, key))
        seen.add(key)
        if name not in claim_names:
            missing = field_not_found(at, name)
            text = "must be one of the names in pod.spec.resourceClaims"
            listed = ", ".join(sorted(claim_names))
            text += f": {listed}" if claim_names else " which is empty"
            errors.append(FieldError(missing.reason, at, f"{missing.message}: {text}"))
    return errors
