"""Validation of node taints."""

from kybern.api.errors import FieldError, Obj, duplicate, invalid_value
from kybern.api.validation.affinity import TAINT_EFFECTS
from kybern.api.validation.fields import one_of
from kybern.api.validation.metadata import label_key
from kybern.api.validation.names import is_label_value


def taints(held: list[Obj], path: str) -> list[FieldError]:
    """``spec.taints`` of a node; upstream reports them below ``metadata``."""
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(held):
        at, key, effect = f"{path}[{i}]", taint.get("key", ""), taint.get("effect", "")
        errors += label_key(key, f"{at}.key")
        messages = is_label_value(taint.get("value", ""))
        if messages:
            errors.append(invalid_value(f"{at}.value", taint["value"], ";".join(messages)))
        errors += one_of(effect, TAINT_EFFECTS, f"{at}.effect")
        if (key, effect) in seen:
            shown = {
                "Key": key,
                "Value": taint.get("value", ""),
                "Effect": effect,
                "TimeAdded": taint.get("timeAdded"),
            }
            repeated = duplicate(at, shown)
            text = f"{repeated.message}: taints must be unique by key and effect pair"
            errors.append(FieldError(repeated.reason, at, text))
        seen.add((key, effect))
    return errors
