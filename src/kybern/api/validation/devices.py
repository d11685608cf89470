"""Rules that classes, claims and slices of devices share: names, sizes, taints, parameters.

Upstream's limits are the wire's: a list that is too long is reported by its length alone, and its
items are then not looked at, so that no request costs more than the limits allow.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
)
from kybern.api.validation.fields import dns_label, dns_subdomain
from kybern.api.validation.metadata import label_key
from kybern.api.validation.names import is_c_identifier, is_label_value
from kybern.api.validation.volumes import csi_driver_name

MAX_SELECTORS = 32
MAX_CONFIGS = 32
MAX_PARAMETER_BYTES = 10 * 1024
_MAX_EXPRESSION = 10 * 1024
_MAX_POOL_NAME = 253
_MAX_IDENTIFIER = 32
_MAX_BINDING_CONDITIONS = 4
_TAINT_EFFECTS = ("NoExecute", "NoSchedule", "None")
_TOLERATION_OPERATORS = ("Equal", "Exists")

Check = Callable[[Any, str], list[FieldError]]


def items(held: list[Any] | None, limit: int, check: Check, path: str) -> list[FieldError]:
    """Every item of a list that is not longer than its limit."""
    held = held or []
    if len(held) > limit:
        return [too_many(path, len(held), limit)]
    errors: list[FieldError] = []
    for i, item in enumerate(held):
        errors += check(item, f"{path}[{i}]")
    return errors


def unique_items(
    held: list[Any] | None,
    limit: int,
    check: Check,
    path: str,
    key: Callable[[Any], Any] = lambda item: item,
) -> list[FieldError]:
    """The same for items that differ in a key."""
    errors = items(held, limit, check, path)
    held = held or []
    if len(held) > limit:
        return errors
    seen: set[Any] = set()
    for i, item in enumerate(held):
        if key(item) in seen:
            errors.append(duplicate(f"{path}[{i}]", key(item)))
        seen.add(key(item))
    return errors


def entries(
    held: Mapping[str, Any] | None, limit: int, check_key: Check, check: Check, path: str
) -> list[FieldError]:
    """Every key and value of a map; keys are reported at the map itself."""
    held = held or {}
    if len(held) > limit:
        return [too_many(path, len(held), limit)]
    errors: list[FieldError] = []
    for key, value in held.items():
        errors += check_key(key, path)
        errors += check(value, f"{path}[{key}]")
    return errors


def name_of(item: Obj) -> str:
    return str(item.get("name", ""))


def pool_name(name: str, path: str) -> list[FieldError]:
    """Subdomains joined by slashes."""
    if not name:
        return [required(path)]
    errors: list[FieldError] = []
    if len(name) > _MAX_POOL_NAME:
        errors.append(too_long(path, _MAX_POOL_NAME))
    for part in name.split("/"):
        errors += dns_subdomain(part, path)
    return errors


def qualified_device_name(name: str, path: str) -> list[FieldError]:
    """An identifier, of a driver's domain if it has a slash."""
    domain, slash, identifier = name.partition("/")
    if not slash:
        return _identifier(name, path)
    if "/" in identifier:
        return []  # Upstream looks at neither part of a name with more than one slash.
    errors: list[FieldError] = []
    if domain:
        errors += csi_driver_name(domain, path)
    else:
        errors.append(invalid_value(path, "", "the domain must not be empty"))
    if identifier:
        errors += _identifier(identifier, path)
    else:
        errors.append(invalid_value(path, "", "the name must not be empty"))
    return errors


def fully_qualified_device_name(name: str, path: str) -> list[FieldError]:
    errors = qualified_device_name(name, path)
    if "/" not in name:
        text = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(invalid_value(path, name, text))
    return errors


def _identifier(name: str, path: str) -> list[FieldError]:
    errors = [too_long(path, _MAX_IDENTIFIER)] if len(name) > _MAX_IDENTIFIER else []
    return errors + [invalid_value(path, name, message) for message in is_c_identifier(name)]


def selector(held: Obj, path: str) -> list[FieldError]:
    if held.get("cel") is None:
        return [required(f"{path}.cel")]
    expression, at = held["cel"].get("expression", ""), f"{path}.cel.expression"
    if len(expression.encode()) > _MAX_EXPRESSION:
        return [too_long(at, _MAX_EXPRESSION)]
    # Loaded with the first selector: few clusters have any, and each waits for its start.
    from kybern.api.cel import device_selectors

    wrong = device_selectors.problem(expression)
    return [invalid_value(at, expression, wrong)] if wrong else []


def configuration(held: Obj, path: str) -> list[FieldError]:
    opaque = held.get("opaque")
    if opaque is None:
        return [required(f"{path}.opaque")]
    errors = csi_driver_name(opaque.get("driver", ""), f"{path}.opaque.driver")
    at = f"{path}.opaque.parameters"
    return errors + raw_object(opaque.get("parameters"), at, MAX_PARAMETER_BYTES)


def raw_object(value: Any, path: str, limit: int) -> list[FieldError]:
    """A JSON object that only its driver understands."""
    if value is None:
        return [required(path)]
    if len(orjson.dumps(value)) > limit:
        return [too_long(path, limit)]
    if not isinstance(value, dict):
        return [invalid_value(path, "<value omitted>", "must be a valid JSON object")]
    return []


def taint(held: Obj, path: str) -> list[FieldError]:
    errors = label_key(held.get("key", ""), f"{path}.key")
    errors += _label_value(held.get("value", ""), f"{path}.value")
    effect = held.get("effect", "")
    if not effect:
        errors.append(required(f"{path}.effect"))
    return errors + _effect(effect, path)


def toleration(held: Obj, path: str) -> list[FieldError]:
    errors = label_key(held["key"], f"{path}.key") if held.get("key") else []
    operator, value = held.get("operator", ""), held.get("value", "")
    if operator == "Exists":
        if value:
            text = "must be empty for operator `Exists`"
            errors.append(invalid_value(f"{path}.value", value, text))
    elif operator == "Equal":
        errors += _label_value(value, f"{path}.value")
    elif not operator:
        errors.append(required(f"{path}.operator"))
    else:
        errors.append(not_supported(f"{path}.operator", operator, _TOLERATION_OPERATORS))
    return errors + _effect(held.get("effect", ""), path)


def _effect(effect: str, path: str) -> list[FieldError]:
    if not effect or effect in _TAINT_EFFECTS:
        return []
    return [not_supported(f"{path}.effect", effect, _TAINT_EFFECTS)]


def _label_value(value: str, path: str) -> list[FieldError]:
    return [invalid_value(path, value, message) for message in is_label_value(value)]


def binding_conditions(held: Obj, path: str) -> list[FieldError]:
    """Conditions that a pod's binding waits for, and those that end the wait."""
    wanted = held.get("bindingConditions") or []
    failing = held.get("bindingFailureConditions") or []
    at, failing_at = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"
    errors = items(wanted, _MAX_BINDING_CONDITIONS, label_key, at)
    errors += items(failing, _MAX_BINDING_CONDITIONS, label_key, failing_at)
    errors += [duplicate(f"{at}[{i}]", c) for i, c in enumerate(wanted) if c in wanted[:i]]
    for i, condition in enumerate(failing):
        if condition in failing[:i]:
            errors.append(duplicate(f"{failing_at}[{i}]", condition))
        if condition in wanted:
            text = "bindingFailureConditions must not overlap with bindingConditions"
            errors.append(invalid_value(f"{failing_at}[{i}]", condition, text))
    if failing and not wanted:
        text = "bindingConditions are required to use bindingFailureConditions"
        errors.append(invalid_value(at, held.get("bindingConditions"), text))
    if wanted and not failing:
        text = "bindingFailureConditions are required to use bindingConditions"
        errors.append(invalid_value(failing_at, held.get("bindingFailureConditions"), text))
    return errors


def short_name(name: str, path: str) -> list[FieldError]:
    return dns_label(name, path) if name else [required(path)]
