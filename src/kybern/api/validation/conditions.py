"""Validation of the conditions that statuses share (``metav1.Condition``)."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from kybern.api.validation.fields import named, qualified_name
from kybern.api.validation.names import is_condition_reason

_STATES = ("False", "True", "Unknown")
_MAX_REASON = 1024
_MAX_MESSAGE = 32 * 1024


def conditions(held: list[Obj] | None, path: str) -> list[FieldError]:
    """Errors of a list of conditions, whose types must differ."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, condition in enumerate(held or ()):
        at, kind = f"{path}[{i}]", condition.get("type", "")
        if kind in seen:
            errors.append(duplicate(f"{at}.type", kind))
        seen.add(kind)
        errors += _condition(condition, at)
    return errors


def _condition(condition: Obj, path: str) -> list[FieldError]:
    errors = qualified_name(condition.get("type", ""), f"{path}.type")
    if condition.get("status", "") not in _STATES:
        errors.append(not_supported(f"{path}.status", condition.get("status", ""), _STATES))
    generation = condition.get("observedGeneration", 0)
    if generation < 0:
        text = "must be greater than or equal to zero"
        errors.append(invalid_value(f"{path}.observedGeneration", generation, text))
    if not condition.get("lastTransitionTime"):
        errors.append(required(f"{path}.lastTransitionTime"))
    reason = condition.get("reason", "")
    if not reason:
        errors.append(required(f"{path}.reason"))
    else:
        errors += named(is_condition_reason(reason), reason, f"{path}.reason")
        if len(reason) > _MAX_REASON:
            errors.append(too_long(f"{path}.reason", _MAX_REASON))
    if len(condition.get("message", "")) > _MAX_MESSAGE:
        errors.append(too_long(f"{path}.message", _MAX_MESSAGE))
    return errors
