"""Validation that the kinds which keep sets of pods have in common."""

from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.validation.fields import NOT_NEGATIVE, not_negative
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import is_percent

_MORE_THAN_ALL = "cannot be greater than status.replicas"


def selector(value: Obj | None, kind: str, path: str) -> list[FieldError]:
    """A selector that is there, sound and not empty."""
    if value is None:
        return [required(path)]
    errors = label_selector(value, path)
    if not value.get("matchLabels") and not value.get("matchExpressions"):
        errors.append(invalid_value(path, value, f"empty selector is invalid for {kind}"))
    return errors


def fixed_selector(new: Obj, old: Obj) -> list[FieldError]:
    """A workload keeps its selector for life."""
    after, before = (new.get("spec") or {}), (old.get("spec") or {})
    return immutable(after.get("selector"), before.get("selector"), "spec.selector")


def counts(spec: Obj, names: tuple[str, ...], path: str) -> list[FieldError]:
    """Numbers that may not be negative."""
    errors: list[FieldError] = []
    for name in names:
        errors += not_negative(spec.get(name), f"{path}.{name}")
    return errors


def int_or_percent(value: int | str | None, path: str) -> list[FieldError]:
    if value is None:
        return []
    if isinstance(value, str):
        return [invalid_value(path, value, message) for message in is_percent(value)]
    return [] if value >= 0 else [invalid_value(path, value, NOT_NEGATIVE)]


def at_most_all(value: int | str | None, path: str) -> list[FieldError]:
    """A percentage of at most one hundred."""
    if isinstance(value, str) and not is_percent(value) and int(value[:-1]) > 100:
        return [invalid_value(path, value, "must not be greater than 100%")]
    return []


def amount(value: int | str | None) -> int:
    """The number in an int-or-percent; zero where it is none."""
    if isinstance(value, str):
        return int(value[:-1]) if not is_percent(value) else 0
    return value or 0


def internal(strategy: Obj) -> Obj:
    """An update strategy as upstream shows it in errors: its internal type, nulls and all."""
    rolling = strategy.get("rollingUpdate")
    names = ("partition", "maxUnavailable", "maxSurge")
    shown = None
    if rolling is not None:
        shown = {
            n[0].upper() + n[1:]: rolling.get(n) for n in names if n in rolling or n == names[1]
        }
    return {"Type": strategy.get("type", ""), "RollingUpdate": shown}


def replica_status(new: Obj, old: Obj, parts: tuple[str, ...]) -> list[FieldError]:
    """Counts in a status: none negative, no part greater than the whole, no step back."""
    status, before = new.get("status") or {}, old.get("status") or {}
    names = ("observedGeneration", "replicas", *parts, "collisionCount")
    errors = counts(status, names, "status")
    replicas = status.get("replicas", 0)
    for name in parts:
        value = status.get(name, 0)
        if value > replicas:
            errors.append(invalid_value(f"status.{name}", value, _MORE_THAN_ALL))
    ready, available = status.get("readyReplicas", 0), status.get("availableReplicas", 0)
    if "readyReplicas" in parts and available > ready:
        text = "cannot be greater than readyReplicas"
        errors.append(invalid_value("status.availableReplicas", available, text))
    held, now = before.get("collisionCount"), status.get("collisionCount")
    if held is not None and (now is None or now < held):
        errors.append(invalid_value("status.collisionCount", now or 0, "cannot be decremented"))
    return errors
