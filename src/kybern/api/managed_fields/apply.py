"""Server-side apply: merge a manager's configuration into the live object, by ownership.

The patch verb calls :func:`apply` for ``application/apply-patch``. The manager owns exactly what it
applied. Fields that it owned before and no longer names go, unless another manager owns them;
fields of others that it would change are a conflict, unless forced.
"""

from typing import Any

import orjson

from kybern.api.errors import Obj, bad_request
from kybern.api.managed_fields.compare import compare
from kybern.api.managed_fields.configuration import require_applicable
from kybern.api.managed_fields.conflicts import Conflict, conflict_error
from kybern.api.managed_fields.elements import NoElement, fields_of, is_map
from kybern.api.managed_fields.field_set import EMPTY, FieldSet
from kybern.api.managed_fields.managers import (
    APPLY,
    UPDATE,
    Managed,
    ManagerKey,
    Managers,
    drop_empty,
    manager_key,
    read_managers,
    write_managers,
)
from kybern.api.managed_fields.merge import merge, remove, with_structs
from kybern.api.managed_fields.tracking import UNOWNED, record_update, reset_fields
from kybern.api.managed_fields.versions import Change, Convert
from kybern.api.schema.normalise import copy_json, zero
from kybern.api.schema.type_schema import TypeSchema
from kybern.api.schema.types import Type

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CLIENT_SIDE_MANAGER = "kubectl"
_BEFORE_FIRST_APPLY = "before-first-apply"


def apply(
    current: Obj | None,
    applied: Obj,
    *,
    schema: TypeSchema,
    manager: str,
    force: bool,
    api_version: str,
    now: str,
    subresource: str = "",
    ignored: FieldSet | None = None,
    convert: Convert | None = None,
) -> Obj:
    """The merged object, with managedFields; fresh, not yet defaulted or normalised.

    ``current`` is None if the object does not exist yet. Raises StatusError 409 with a cause for
    each conflict, 400 for a configuration that is not of its type.
    """
    require_applicable(applied, schema, api_version)
    live = _without_managers(current) if current is not None else zero(schema.type) or {}
    managers = _read_live_managers(current)
    ignored = reset_fields(schema, subresource) if ignored is None else ignored
    key = manager_key(manager or "unknown", APPLY, api_version, subresource)
    try:
        if current is not None and not managers:
            before = ManagerKey(_BEFORE_FIRST_APPLY, UPDATE, api_version, subresource)
            record_update(managers, None, live, schema, before, api_version, now, ignored)
        merged = _merged(schema, live, applied, managers, key, ignored, api_version)
        change = Change(schema, api_version, live, merged, ignored, convert)
    except NoElement as problem:
        # The client can mend the object by an update, so this is no error of the server's.
        raise bad_request(f"failed to convert live object to smd typed: {problem}") from None
    conflicts = _take_over(change, managers, key)
    if conflicts and not force:
        conflicts = _unexplained(schema, live, conflicts, manager, api_version)
        if conflicts:
            raise conflict_error(conflicts)
    _settle(managers, key, changed=merged != live, now=now)
    result: Obj = copy_json(merged)
    _remember_last_applied(result, applied, manager)
    entries = write_managers(managers)
    if entries:
        result.setdefault("metadata", {})["managedFields"] = entries
    return result


def _without_managers(obj: Obj) -> Obj:
    metadata = obj.get("metadata", {})
    plain = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**obj, "metadata": plain}


def _read_live_managers(current: Obj | None) -> Managers:
    try:
        return read_managers((current or {}).get("metadata", {}).get("managedFields"))
    except (ValueError, AttributeError):
        return {}


def _merged(
    schema: TypeSchema,
    live: Obj,
    applied: Obj,
    managers: Managers,
    key: ManagerKey,
    ignored: FieldSet,
    api_version: str,
) -> Obj:
    """Live and applied merged, without what the manager gave up; sets the manager's fields."""
    kind = schema.type
    last = managers.get(key)
    fields = fields_of(kind, applied).without(ignored)
    managers[key] = Managed(fields, api_version, last.time if last else None)
    merged: Obj = merge(kind, live, applied)
    if last is None or not last.fields.difference(fields):
        return merged
    return _pruned(kind, merged, last.fields, managers)


def _pruned(kind: Type, merged: Obj, last: FieldSet, managers: Managers) -> Obj:
    """``merged`` without the fields of ``last`` that no manager owns any more."""
    last = with_structs(kind, last)
    pruned = remove(kind, merged, last)
    owned = EMPTY
    for managed in managers.values():
        owned = owned.union(managed.fields)
    whole = with_structs(kind, fields_of(kind, merged))
    kept = with_structs(kind, fields_of(kind, pruned)).union(with_structs(kind, owned))
    pruned = remove(kind, merged, whole.difference(kept))
    left = with_structs(kind, fields_of(kind, pruned))
    # Only what this manager had applied may go: the rest was never its to give up.
    result: Obj = remove(kind, merged, whole.difference(left).intersection(last))
    return result


def _take_over(change: Change, managers: Managers, key: ManagerKey) -> list[Conflict]:
    """Take changed and removed fields from the other managers; returns what they lose."""
    change.forget_unserved(managers)
    conflicts = []
    for other, managed in managers.items():
        if other == key:
            continue
        seen = change.in_version(managed.api_version) or change.requested
        lost = managed.fields.intersection(seen.changed)
        conflicts += [Conflict(other, path) for path in lost.paths()]
        managed.fields = managed.fields.difference(lost).difference(seen.removed)
    return conflicts


def _settle(managers: Managers, key: ManagerKey, *, changed: bool, now: str) -> None:
    """Drop what nobody can own, and note the time if the apply changed the object."""
    mine = managers[key]
    mine.fields = mine.fields.difference(UNOWNED)
    if changed:
        mine.time = now
    drop_empty(managers)


def _unexplained(
    schema: TypeSchema, live: Obj, conflicts: list[Conflict], manager: str, api_version: str
) -> list[Conflict]:
    """Conflicts that are not simply the manager's own earlier client-side apply.

    ``kubectl apply --server-side`` may take over what ``kubectl apply`` wrote, as long as the live
    value is still the one in the last-applied annotation.
    """
    annotations = live.get("metadata", {}).get("annotations") or {}
    if manager != _CLIENT_SIDE_MANAGER or not annotations.get(LAST_APPLIED):
        return conflicts
    try:
        last: Any = orjson.loads(annotations[LAST_APPLIED])
        if not is_map(schema.type, last) or last.get("apiVersion") != api_version:
            return conflicts
        fields = fields_of(schema.type, last)
    except (ValueError, AttributeError):
        return conflicts
    comparison = compare(schema.type, last, live)
    allowed = fields.difference(comparison.changed).difference(comparison.removed)
    paths = set(allowed.paths())
    return [conflict for conflict in conflicts if conflict.path not in paths]


def _remember_last_applied(result: Obj, applied: Obj, manager: str) -> None:
    """Keep the client-side annotation current, so that going back to ``kubectl apply`` works."""
    annotations = (result.get("metadata") or {}).get("annotations") or {}
    if manager != _CLIENT_SIDE_MANAGER or not annotations.get(LAST_APPLIED):
        return
    config = copy_json(applied)
    ((config.get("metadata") or {}).get("annotations") or {}).pop(LAST_APPLIED, None)
    annotations[LAST_APPLIED] = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode() + "\n"
