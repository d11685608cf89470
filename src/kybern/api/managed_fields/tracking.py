"""Tracking who owns which field, for every write that is not an apply.

Called by create, update and patch with the object before and after. What changed now belongs to
the writer and to nobody else; what is gone belongs to no one; everything else stays as it was.
"""

from functools import lru_cache
from typing import Any

from kybern.api.errors import Obj
from kybern.api.managed_fields.elements import NoElement
from kybern.api.managed_fields.field_set import EMPTY, FieldSet, field_set
from kybern.api.managed_fields.managers import (
    UPDATE,
    Managed,
    ManagerKey,
    Managers,
    cap_update_managers,
    drop_empty,
    manager_key,
    read_managers,
    write_managers,
)
from kybern.api.managed_fields.versions import Change, Convert
from kybern.api.schema.normalise import zero
from kybern.api.schema.type_schema import TypeSchema
from kybern.api.schema.types import Type

UNOWNED = field_set(
    [
        ("apiVersion",),
        ("kind",),
        ("metadata",),
        ("metadata", "name"),
        ("metadata", "namespace"),
        ("metadata", "creationTimestamp"),
        ("metadata", "selfLink"),
        ("metadata", "uid"),
        ("metadata", "clusterName"),
        ("metadata", "generation"),
        ("metadata", "managedFields"),
        ("metadata", "resourceVersion"),
    ]
)
"""Fields that the server keeps: no manager ever owns them."""

_STATUS = field_set([("status",)])
_SPEC = field_set([("spec",)])


def reset_fields(schema: TypeSchema, subresource: str) -> FieldSet:
    """The fields that a write through this door resets, so that its manager cannot own them."""
    if subresource == "status":
        return _SPEC
    return _STATUS if not subresource and "status" in schema.type.fields else EMPTY


def track(
    old: Obj | None,
    new: Obj,
    *,
    schema: TypeSchema,
    manager: str,
    api_version: str,
    now: str,
    operation: str = UPDATE,
    subresource: str = "",
    ignored: FieldSet | None = None,
    convert: Convert | None = None,
) -> None:
    """Set ``new``'s managedFields for a write; ``old`` is None for a create.

    ``new`` may carry managedFields itself: they replace the known ones, an empty entry resets them.
    ``ignored`` are the fields that the write cannot change, by default :func:`reset_fields`.
    An object with list items that nobody can tell apart is not tracked.
    """
    metadata = new.setdefault("metadata", {})
    managers = _known_managers(old, metadata.pop("managedFields", None), subresource)
    if old is not None and not managers and old.get("metadata", {}).get("uid"):
        # An object that nobody tracks stays so until its first apply.
        return
    key = manager_key(manager or "unknown", operation, api_version, subresource)
    ignored = reset_fields(schema, subresource) if ignored is None else ignored
    try:
        record_update(managers, old, new, schema, key, api_version, now, ignored, convert)
    except NoElement:
        return
    cap_update_managers(managers)
    entries = write_managers(managers)
    if entries:
        metadata["managedFields"] = entries


def record_update(
    managers: Managers,
    old: Obj | None,
    new: Obj,
    schema: TypeSchema,
    key: ManagerKey,
    api_version: str,
    now: str,
    ignored: FieldSet,
    convert: Convert | None = None,
) -> None:
    """Move what changed to the writer; the time changes only if something did.

    Raises NoElement for a list item without identity.
    """
    before = _tracked(old) if old is not None else _nothing(schema.type)
    change = Change(schema, api_version, before, _tracked(new), ignored, convert)
    change.forget_unserved(managers)
    for managed in managers.values():
        seen = change.in_version(managed.api_version) or change.requested
        managed.fields = managed.fields.difference(seen.changed).difference(seen.removed)
    previous = managers.get(key)
    drop_empty(managers)
    changed = change.requested.changed.difference(UNOWNED)
    if changed:
        fields = previous.fields.union(changed) if previous else changed
        managers[key] = Managed(fields, api_version, now)


@lru_cache(maxsize=1024)
def _nothing(kind: Type) -> Obj:
    """What is there before an object is created; it is compared with and never changed."""
    return zero(kind) or {}


def _tracked(obj: Obj) -> Obj:
    """The object without its managedFields."""
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    plain = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**obj, "metadata": plain}


def _known_managers(old: Obj | None, given: Any, subresource: str) -> Managers:
    """The entries that the request brings, or else those of the live object."""
    if given is not None and not subresource:
        if given in ([], [{}]):
            return {}
        try:
            managers = read_managers(given)
        except (ValueError, AttributeError):
            managers = {}
        if managers:
            return managers
    try:
        return read_managers((old or {}).get("metadata", {}).get("managedFields"))
    except (ValueError, AttributeError):
        return {}
