"""Validation of ``metav1.LabelSelector`` and of the rules about label keys in affinity terms."""

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value, required
from kybern.api.validation.metadata import label_key, labels
from kybern.api.validation.names import is_label_value

WITH_VALUES = ("In", "NotIn")
WITHOUT_VALUES = ("Exists", "DoesNotExist")
NEEDS_VALUES = "must be specified when `operator` is 'In' or 'NotIn'"
NEEDS_NO_VALUES = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"


def label_selector(selector: Obj | None, path: str) -> list[FieldError]:
    if not selector:
        return []
    errors: list[FieldError] = []
    if selector.get("matchLabels"):
        errors += labels(selector["matchLabels"], f"{path}.matchLabels")
    for i, expression in enumerate(selector.get("matchExpressions") or ()):
        errors += _requirement(expression, f"{path}.matchExpressions[{i}]")
    return errors


def _requirement(requirement: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    operator = requirement.get("operator", "")
    values = requirement.get("values") or ()
    if operator in WITH_VALUES:
        if not values:
            errors.append(required(f"{path}.values", NEEDS_VALUES))
    elif operator in WITHOUT_VALUES:
        if values:
            errors.append(field_forbidden(f"{path}.values", NEEDS_NO_VALUES))
    else:
        text = "not a valid selector operator"
        errors.append(invalid_value(f"{path}.operator", operator, text))
    errors += label_key(requirement.get("key", ""), f"{path}.key")
    for i, value in enumerate(values):
        for message in is_label_value(value):
            errors.append(invalid_value(f"{path}.values[{i}]", value, message))
    return errors


def label_keys(
    path: str, match: list[str] | None, mismatch: list[str] | None, selector: Obj | None
) -> list[FieldError]:
    """``matchLabelKeys`` and ``mismatchLabelKeys`` of an affinity term or spread constraint."""
    if not match and not mismatch:
        return []
    errors: list[FieldError] = []
    for name, keys in (("matchLabelKeys", match or ()), ("mismatchLabelKeys", mismatch or ())):
        if keys and selector is None:
            text = "must not be specified when labelSelector is not set"
            errors.append(field_forbidden(f"{path}.{name}", text))
            continue
        for i, key in enumerate(keys):
            errors += label_key(key, f"{path}.{name}[{i}]")
    if selector is not None:
        errors += _doubly_named(path, match or [], selector)
    for i, key in enumerate(match or ()):
        if key in (mismatch or ()):
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid_value(f"{path}.matchLabelKeys[{i}]", key, text))
    return errors


def _doubly_named(path: str, match: list[str], selector: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    seen = set(selector.get("matchLabels") or ())
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key", "")
        if key in match and key in seen:
            text = "exists in both matchLabelKeys and labelSelector"
            # Of a key that is repeated, upstream remembers the last place.
            last = len(match) - 1 - match[::-1].index(key)
            errors.append(invalid_value(f"{path}[{last}]", key, text))
        seen.add(key)
    return errors
