"""Validates a custom resource against its OpenAPI schema, with upstream's field errors.

The schema is structural, so types stand outside ``allOf``, ``anyOf``, ``oneOf`` and ``not``; those
only add conditions.
"""

import ipaddress
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)

MOST_ERRORS = 100


def validate(obj: Obj, schema: Obj) -> list[FieldError]:
    """Every error of the object, at most a bounded number."""
    errors: list[FieldError] = []
    _check(obj, schema, "", errors, root=True)
    return errors[:MOST_ERRORS]


def _check(
    value: Any, schema: Obj, path: str, errors: list[FieldError], *, root: bool = False
) -> None:
    if len(errors) >= MOST_ERRORS:
        return
    if value is None and (schema.get("nullable") or schema.get("x-kubernetes-int-or-string")):
        return
    if not _type_fits(value, schema):
        wanted = schema.get("type", "integer or string")
        found = _type_name(value)
        errors.append(
            type_invalid(path, found, f'{path} in body must be of type {wanted}: "{found}"')
        )
        return
    if "enum" in schema and value not in schema["enum"]:
        errors.append(not_supported(path, value, [_text(item) for item in schema["enum"]]))
    if isinstance(value, dict):
        _check_object(value, schema, path, errors, root)
    elif isinstance(value, list):
        _check_list(value, schema, path, errors)
    elif isinstance(value, str):
        _check_string(value, schema, path, errors)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, schema, path, errors)
    _check_combined(value, schema, path, errors)


def _type_fits(value: Any, schema: Obj) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    match schema.get("type"):
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return True


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return names[type(value)]


def _check_object(value: Obj, schema: Obj, path: str, errors: list[FieldError], root: bool) -> None:
    properties = schema.get("properties") or {}
    for name in schema.get("required") or ():
        if name not in value:
            errors.append(required(_child(path, name)))
    additional = schema.get("additionalProperties")
    for name, item in value.items():
        if root and name in ("apiVersion", "kind", "metadata"):
            continue
        child = properties.get(name, additional)
        if isinstance(child, dict):
            keyed = _child(path, name) if name in properties else f"{path}.{name}"
            _check(item, child, keyed.lstrip("."), errors)
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        text = f"{path} in body should have at least {least} properties"
        errors.append(invalid_value(path, len(value), text))
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))


def _check_list(value: list[Any], schema: Obj, path: str, errors: list[FieldError]) -> None:
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            _check(item, items, f"{path}[{index}]", errors)
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        text = f"{path} in body should have at least {least} items"
        errors.append(invalid_value(path, len(value), text))
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))
    _check_unique(value, schema, path, errors)


def _check_unique(value: list[Any], schema: Obj, path: str, errors: list[FieldError]) -> None:
    kind = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    seen: list[Any] = []
    for index, item in enumerate(value):
        if kind == "map" and isinstance(item, dict):
            identity: Any = {key: item.get(key) for key in keys}
        elif kind == "set":
            identity = item
        else:
            return
        if identity in seen:
            errors.append(duplicate(f"{path}[{index}]", identity))
        seen.append(identity)


def _check_string(value: str, schema: Obj, path: str, errors: list[FieldError]) -> None:
    least, most = schema.get("minLength"), schema.get("maxLength")
    if least is not None and len(value) < least:
        text = f"{path} in body should be at least {least} chars long"
        errors.append(invalid_value(path, value, text))
    if most is not None and len(value) > most:
        errors.append(too_long(path, most))
    pattern = schema.get("pattern")
    if pattern and not _matches(pattern, value):
        errors.append(invalid_value(path, value, f"{path} in body should match '{pattern}'"))
    format_ = schema.get("format", "")
    if not _format_fits(format_, value):
        text = f'{path} in body must be of type {format_}: "{value}"'
        errors.append(invalid_value(path, value, text))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.search(value) is not None


def _format_fits(format_: str, value: str) -> bool:
    try:
        match format_:
            case "date-time":
                datetime.fromisoformat(value)
            case "ipv4":
                ipaddress.IPv4Address(value)
            case "ipv6":
                ipaddress.IPv6Address(value)
            case "cidr":
                ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def _check_number(value: float, schema: Obj, path: str, errors: list[FieldError]) -> None:
    least, most = schema.get("minimum"), schema.get("maximum")
    above = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
    below = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
    if least is not None and (value < least or (value == least and schema.get("exclusiveMinimum"))):
        errors.append(invalid_value(path, value, f"{path} in body should be {above} {least}"))
    if most is not None and (value > most or (value == most and schema.get("exclusiveMaximum"))):
        errors.append(invalid_value(path, value, f"{path} in body should be {below} {most}"))
    factor = schema.get("multipleOf")
    if factor and value % factor:
        text = f"{path} in body should be a multiple of {factor}"
        errors.append(invalid_value(path, value, text))


def _check_combined(value: Any, schema: Obj, path: str, errors: list[FieldError]) -> None:
    for part in schema.get("allOf") or ():
        _check(value, part, path, errors)
    name = path or '""'
    any_of, one_of = schema.get("anyOf"), schema.get("oneOf")
    if any_of and not any(_fits(value, part, path) for part in any_of):
        text = f"{name} must validate at least one schema (anyOf)"
        errors.append(invalid_value(path, "", text))
    if one_of:
        count = sum(_fits(value, part, path) for part in one_of)
        if count != 1:
            found = "none valid" if not count else f"{count} valid alternatives"
            text = f"{name} must validate one and only one schema (oneOf). Found {found}"
            errors.append(invalid_value(path, "", text))
    if "not" in schema and _fits(value, schema["not"], path):
        errors.append(invalid_value(path, "", f"{name} must not validate the schema (not)"))


def _fits(value: Any, schema: Obj, path: str) -> bool:
    errors: list[FieldError] = []
    _check(value, schema, path, errors)
    return not errors


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
