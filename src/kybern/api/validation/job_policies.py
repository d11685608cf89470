"""Validation of what ends a job early: pod failure policies and success policies."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from kybern.api.validation.fields import not_negative, qualified_name

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_MAX_RULES = 20
_MAX_VALUES = 255


def failure_policy(spec: Obj, path: str) -> list[FieldError]:
    """``podFailurePolicy`` of a job's spec."""
    rules = spec["podFailurePolicy"].get("rules") or []
    errors: list[FieldError] = []
    if len(rules) > _MAX_RULES:
        errors.append(too_many(f"{path}.rules", len(rules), _MAX_RULES))
    pod = (spec.get("template") or {}).get("spec") or {}
    groups = ("containers", "initContainers")
    names = {c.get("name") for group in groups for c in pod.get(group) or ()}
    for i, rule in enumerate(rules):
        errors += _rule(spec, rule, names, f"{path}.rules[{i}]")
    return errors


def _valid(values: tuple[str, ...]) -> str:
    return "valid values: [" + " ".join(f'"{value}"' for value in values) + "]"


def _rule(spec: Obj, rule: Obj, names: set[str | None], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    action = rule.get("action", "")
    if not action:
        errors.append(required(f"{path}.action", _valid(_ACTIONS)))
    elif action not in _ACTIONS:
        errors.append(not_supported(f"{path}.action", action, _ACTIONS))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        text = "requires the backoffLimitPerIndex to be set"
        errors.append(invalid_value(f"{path}.action", action, text))
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        errors += _exit_codes(codes, names, f"{path}.onExitCodes")
    if len(conditions) > _MAX_RULES:
        errors.append(too_many(f"{path}.onPodConditions", len(conditions), _MAX_RULES))
    for i, pattern in enumerate(conditions):
        at = f"{path}.onPodConditions[{i}]"
        errors += qualified_name(pattern.get("type", ""), f"{at}.type")
        status = pattern.get("status", "")
        if not status:
            errors.append(required(f"{at}.status", _valid(_STATUSES)))
        elif status not in _STATUSES:
            errors.append(not_supported(f"{at}.status", status, _STATUSES))
    if codes is not None and conditions:
        errors.append(_rule_error(path, "specifying both OnExitCodes and OnPodConditions is not"))
    if codes is None and not conditions:
        errors.append(_rule_error(path, "specifying one of OnExitCodes and OnPodConditions is"))
    return errors


def _rule_error(path: str, text: str) -> FieldError:
    """Upstream leaves the bad value out of these two."""
    verb = "supported" if text.endswith("not") else "required"
    return FieldError("FieldValueInvalid", path, f"Invalid value: {text} {verb}")


def _exit_codes(codes: Obj, names: set[str | None], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, values = codes.get("operator", ""), codes.get("values") or []
    if not operator:
        errors.append(required(f"{path}.operator", _valid(_OPERATORS)))
    elif operator not in _OPERATORS:
        errors.append(not_supported(f"{path}.operator", operator, _OPERATORS))
    container = codes.get("containerName")
    if container is not None and container not in names:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid_value(f"{path}.containerName", container, text))
    at = f"{path}.values"
    if not values:
        errors.append(invalid_value(at, codes.get("values"), "at least one value is required"))
    elif len(values) > _MAX_VALUES:
        errors.append(too_many(at, len(values), _MAX_VALUES))
    seen: set[int] = set()
    for i, value in enumerate(values):
        if operator == "In" and value == 0:
            text = "must not be 0 for the In operator"
            errors.append(invalid_value(f"{at}[{i}]", value, text))
        if value in seen:
            errors.append(duplicate(f"{at}[{i}]", value))
        seen.add(value)
    if values != sorted(values):
        errors.append(invalid_value(at, values, "must be ordered"))
    return errors


def success_policy(spec: Obj, path: str) -> list[FieldError]:
    """``successPolicy`` of an indexed job's spec."""
    rules = spec["successPolicy"].get("rules") or []
    completions = spec.get("completions") or 0
    errors: list[FieldError] = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", text))
    if len(rules) > _MAX_RULES:
        errors.append(too_many(f"{path}.rules", len(rules), _MAX_RULES))
    for i, rule in enumerate(rules):
        errors += _success_rule(rule, completions, f"{path}.rules[{i}]")
    return errors


def _success_rule(rule: Obj, completions: int, path: str) -> list[FieldError]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        text = "at least one of succeededCount or succeededIndexes must be specified"
        return [required(path, text)]
    errors: list[FieldError] = []
    total = 0
    if indexes is not None:
        problem, total = _indexes(indexes, completions)
        if problem:
            text = f"error parsing succeededIndexes: {problem}"
            errors.append(invalid_value(f"{path}.succeededIndexes", indexes, text))
    if count is not None:
        at = f"{path}.succeededCount"
        errors += not_negative(count, at)
        if count > completions:
            text = f"must be less than or equal to {completions} (the number of specified "
            errors.append(invalid_value(at, count, text + "completions)"))
        if indexes is not None and count > total:
            text = f"must be less than or equal to {total} (the number of indexes in the "
            errors.append(invalid_value(at, count, text + "specified succeededIndexes field)"))
    return errors


def _indexes(text: str, completions: int) -> tuple[str, int]:
    """What is wrong with ``1,3-5``, and how many indexes it names."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        numbers = part.split("-")
        if len(numbers) > 2:
            return (
                f'the fragment "{part}" violates the requirement that an index interval can '
                "have at most two parts separated by '-'",
                0,
            )
        for number in numbers:
            if not (number.isascii() and number.isdigit()):
                return f'cannot convert string to integer for index: "{number}"', 0
            if int(number) >= completions:
                return f'too large index: "{number}"', 0
        first, end = int(numbers[0]), int(numbers[-1])
        if first <= last:
            return f"non-increasing order, previous: {last}, current: {first}", 0
        if len(numbers) == 2 and first >= end:
            return f"non-increasing order, previous: {first}, current: {end}", 0
        total += end - first + 1
        last = end
    return "", total
