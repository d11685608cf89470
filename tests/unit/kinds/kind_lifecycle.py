"""Helpers for tests of kinds: an object on its way through its kind's strategy."""

import re
from collections.abc import Callable
from typing import Any

from kybern.api.errors import FieldError, Obj
from kybern.api.kinds import ServedKind, builtin_registry
from kybern.api.objects import copy
from kybern.api.schema import schema_for

_REGISTRY = builtin_registry(lambda group, version, plural: True)
_UID = "7d1f5a0e-3c7b-4f5e-9d57-0a8e5f3c2b11"
_CREATED = "2026-01-01T00:00:00Z"


def served(obj: Obj) -> ServedKind:
    group, _, version = obj["apiVersion"].rpartition("/")
    found = _REGISTRY.by_kind(group, version, obj["kind"])
    assert found is not None
    return found


def decoded(obj: Obj) -> Obj:
    """The object in its storage version, normalised and defaulted."""
    kind = served(obj)
    schema = schema_for(kind.group, kind.version, kind.kind.kind)
    fresh = schema.normalise(copy(obj))
    kind.strategy.default(fresh)
    return kind.to_storage(fresh)


def created(obj: Obj) -> tuple[Obj, list[FieldError]]:
    """What a create would store, and its errors."""
    kind, fresh = served(obj), decoded(obj)
    metadata = fresh.setdefault("metadata", {})
    if kind.kind.namespaced:
        metadata.setdefault("namespace", "default")
    metadata |= {"uid": _UID, "creationTimestamp": _CREATED}
    kind.strategy.prepare_for_create(fresh)
    return fresh, kind.strategy.validate(fresh, obj["apiVersion"])


def updated(obj: Obj, change: Callable[[Obj], None]) -> tuple[Obj, list[FieldError]]:
    """What an update of a stored object would store, and its errors."""
    old, errors = created(obj)
    assert errors == []
    old["metadata"]["resourceVersion"] = "1"
    new = copy(old)
    change(new)
    strategy = served(obj).strategy
    strategy.default(new)
    strategy.prepare_for_update(new, old)
    return new, strategy.validate_update(new, old)


def shown(obj: Obj) -> Any:
    """The object as the recorded cases have it: UIDs and times by name, as its version says."""
    kind = served(obj)
    schema = schema_for(kind.group, kind.version, kind.kind.kind)
    fresh = schema.normalise(copy(kind.from_storage(obj)))
    for name in ("uid", "creationTimestamp"):
        fresh["metadata"].pop(name, None)
    return _named(fresh)


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _named(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_named(item) for item in value]
    if value == _UID:
        return "UID"
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        return "TIME"
    return value
