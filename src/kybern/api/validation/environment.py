"""Validation of a container's environment: ``env``, ``envFrom``, and downward references."""

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required
from kybern.api.quantity import Quantity
from kybern.api.validation.fields import dns_label, named, no_backsteps, qualified_name
from kybern.api.validation.names import (
    dns_subdomain,
    is_config_key,
    is_env_var_name,
)

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_KNOWN_FIELDS = {*ENV_FIELDS, *VOLUME_FIELDS}
_RESOURCE_FIELDS = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_BYTES_TEXT = f"only divisor's values {', '.join(_BYTE_DIVISORS)} are supported with the "
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def env(variables: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, variable in enumerate(variables):
        name = variable.get("name", "")
        if not name:
            errors.append(required(f"{path}[{i}].name"))
        elif problems := is_env_var_name(name):
            errors += named(problems, name, f"{path}[{i}].name")
        if variable.get("valueFrom") is not None:
            errors += _value_from(variable, f"{path}[{i}].valueFrom")
    return errors


def _value_from(variable: Obj, path: str) -> list[FieldError]:
    source = variable["valueFrom"]
    errors: list[FieldError] = []
    given = [name for name in _SOURCES if source.get(name) is not None]
    for name in given:
        at = f"{path}.{name}"
        if name == "fieldRef":
            errors += field_reference(source[name], ENV_FIELDS, at)
        elif name == "resourceFieldRef":
            errors += resource_reference(source[name], at, in_volume=False)
        elif name == "fileKeyRef":
            errors += _file_key(source[name], at)
        else:
            errors += _key(source[name], at)
    if not given:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
        text += "`secretKeyRef` or `fileKeyRef`"
        errors.append(invalid_value(path, "", text))
    elif variable.get("value"):
        errors.append(invalid_value(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        text = "may not have more than one field specified at a time"
        errors.append(invalid_value(path, "", text))
    return errors


def _key(reference: Obj, path: str) -> list[FieldError]:
    name, key = reference.get("name", ""), reference.get("key", "")
    errors = named(dns_subdomain(name), name, f"{path}.name")
    if not key:
        errors.append(required(f"{path}.key"))
    return errors + (named(is_config_key(key), key, f"{path}.key") if key else [])


def _file_key(reference: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in ("key", "volumeName", "path"):
        if not reference.get(name):
            errors.append(required(f"{path}.{name}"))
    if reference.get("key"):
        errors += named(is_env_var_name(reference["key"]), reference["key"], f"{path}.key")
    if reference.get("volumeName"):
        errors += dns_label(reference["volumeName"], f"{path}.volumeName")
    if reference.get("path"):
        errors += no_backsteps(reference["path"], f"{path}.path")
    return errors


def field_reference(reference: Obj, allowed: tuple[str, ...], path: str) -> list[FieldError]:
    """``fieldRef``: a field of the pod, possibly one label or annotation."""
    if not reference.get("apiVersion"):
        return [required(f"{path}.apiVersion")]
    wanted = reference.get("fieldPath", "")
    if not wanted:
        return [required(f"{path}.fieldPath")]
    field, bracket, rest = wanted.partition("['")
    if bracket and rest.endswith("']"):
        subscript = rest[:-2]
        if field == "metadata.annotations":
            return qualified_name(subscript.lower(), path)
        if field == "metadata.labels":
            return qualified_name(subscript, path)
        if field in _KNOWN_FIELDS:
            return [invalid_value(path, field, "does not support subscript")]
    version = reference["apiVersion"]
    if version != "v1" or wanted not in _KNOWN_FIELDS:
        text = f"field label not supported: {wanted}"
        if version != "v1":
            text = f"unsupported pod version: {version}"
        text = f"error converting fieldPath: {text}"
        return [invalid_value(f"{path}.fieldPath", wanted, text)]
    if wanted not in allowed:
        return [not_supported(f"{path}.fieldPath", wanted, allowed)]
    return []


def resource_reference(reference: Obj, path: str, *, in_volume: bool) -> list[FieldError]:
    """``resourceFieldRef``: a request or limit of a container."""
    errors: list[FieldError] = []
    wanted = reference.get("resource", "")
    if in_volume and not reference.get("containerName"):
        errors.append(required(f"{path}.containerName"))
    elif not wanted:
        errors.append(required(f"{path}.resource"))
    elif wanted not in _RESOURCE_FIELDS and not wanted.startswith(_HUGE_PAGES):
        errors.append(not_supported(f"{path}.resource", wanted, _RESOURCE_FIELDS))
    divisor = reference.get("divisor")
    if divisor is not None and Quantity.parse(divisor).nano:
        errors += _divisor(wanted, Quantity.parse(divisor).canonical(), f"{path}.divisor")
    return errors


def _divisor(resource: str, divisor: str, path: str) -> list[FieldError]:
    if resource.endswith(".cpu"):
        text = "only divisor's values 1m and 1 are supported with the cpu resource"
        return [] if divisor in ("1m", "1") else [invalid_value(path, resource, text)]
    if divisor in _BYTE_DIVISORS:
        return []
    if resource.endswith(".memory"):
        return [invalid_value(path, resource, _BYTES_TEXT + "memory resource")]
    if resource.endswith(".ephemeral-storage"):
        return [invalid_value(path, resource, _BYTES_TEXT + "local ephemeral storage resource")]
    if resource.startswith(_HUGE_PAGES):
        return [invalid_value(path, resource, _BYTES_TEXT + "hugepages resource")]
    return []


def env_from(sources: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, source in enumerate(sources):
        prefix = source.get("prefix")
        if prefix:
            errors += named(is_env_var_name(prefix), prefix, f"{path}[{i}].prefix")
        given = [n for n in ("configMapRef", "secretRef") if source.get(n) is not None]
        for kind in given:
            name = source[kind].get("name", "")
            at = f"{path}[{i}].{kind}.name"
            errors += named(dns_subdomain(name, True), name, at) if name else [required(at)]
        if not given:
            text = "must specify one of: `configMapRef` or `secretRef`"
            errors.append(invalid_value(path, "", text))
        elif len(given) > 1:
            text = "may not have more than one field specified at a time"
            errors.append(invalid_value(path, "", text))
    return errors
