"""Validation of what a pod's status says about its resource claims."""

from kybern.api.errors import FieldError, Obj, duplicate, invalid_value, required
from kybern.api.validation.fields import dns_label, dns_subdomain


def claim_statuses(status: Obj, spec: Obj) -> list[FieldError]:
    """The claims that were made from templates, and the one for extended resources."""
    return [*_of_templates(status, spec), *_of_extended_resources(status, spec)]


def _of_templates(status: Obj, spec: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    declared = {claim["name"] for claim in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for i, held in enumerate(status.get("resourceClaimStatuses") or ()):
        at, name = f"status.resourceClaimStatuses[{i}]", held.get("name", "")
        if name not in declared:
            text = "must match the name of an entry in `spec.resourceClaims`"
            errors.append(invalid_value(f"{at}.name", name, text))
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        seen.add(name)
        if held.get("resourceClaimName") is not None:
            errors += dns_subdomain(held["resourceClaimName"], f"{at}.resourceClaimName")
    return errors


def _of_extended_resources(status: Obj, spec: Obj) -> list[FieldError]:
    held = status.get("extendedResourceClaimStatus")
    if held is None:
        return []
    path = "status.extendedResourceClaimStatus"
    errors: list[FieldError] = []
    mappings = held.get("requestMappings") or []
    if not mappings:
        text = "at least one request mapping is required"
        errors.append(required(f"{path}.requestMappings", text))
    seen: set[tuple[str, ...]] = set()
    for i, mapping in enumerate(mappings):
        at = f"{path}.requestMappings[{i}]"
        errors += _mapping(mapping, spec, at)
        errors += dns_label(mapping.get("requestName", ""), f"{path}.requestName")
        fields = ("containerName", "resourceName", "requestName")
        values = tuple(mapping.get(name, "") for name in fields)
        if values in seen:
            pairs = zip(fields, values, strict=True)
            errors += [duplicate(f"{at}.{name}", value) for name, value in pairs]
        seen.add(values)
    if name := held.get("resourceClaimName"):
        errors += dns_subdomain(name, f"{path}.resourceClaimName")
    else:
        errors.append(required(f"{path}.resourceClaimName"))
    return errors


def _mapping(mapping: Obj, spec: Obj, at: str) -> list[FieldError]:
    """A mapping speaks of a request that a container has."""
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    by_name = {container["name"]: container for container in containers}
    name, resource = mapping.get("containerName", ""), mapping.get("resourceName", "")
    if name not in by_name:
        text = "must match the name of an entry in spec.initContainers.name or spec.containers.name"
        return [invalid_value(f"{at}.containerName", name, text)]
    if resource in ((by_name[name].get("resources") or {}).get("requests") or {}):
        return []
    text = (
        "must match the extended resource name of an entry in spec.initContainers.resources."
        "requests or spec.containers.resources.requests"
    )
    return [invalid_value(f"{at}.resourceName", resource, text)]
