"""Who manages the number of replicas, seen from the Scale and from the object that it belongs to.

A Scale is not stored, so its managedFields are those of its object that own the replicas, and what
a write to the Scale makes of them goes back into the object's.
"""

from collections.abc import Mapping
from typing import Any

from kybern.api.errors import Obj
from kybern.api.managed_fields.field_set import field_set
from kybern.api.managed_fields.managers import (
    Managed,
    Managers,
    manager_key,
    read_managers,
    write_managers,
)

SCALE_VERSION = "autoscaling/v1"
_REPLICAS = field_set([("spec", "replicas")])
Paths = Mapping[str, tuple[str, ...]]
"""Where the replicas are, by the object's ``apiVersion``."""


def managers_of_scale(entries: Any, paths: Paths) -> list[Obj]:
    """The managedFields of the Scale: the object's entries that own the replicas."""
    found: Managers = {}
    for key, managed in _read(entries).items():
        path = paths.get(managed.api_version)
        if path and managed.fields.intersection(field_set([path])):
            scale_key = manager_key(key.manager, key.operation, SCALE_VERSION, key.subresource)
            found[scale_key] = Managed(_REPLICAS, SCALE_VERSION, managed.time)
    return write_managers(found)


def managers_of_object(entries: Any, scaled: Any, api_version: str, paths: Paths) -> list[Obj]:
    """The object's managedFields after a write to its Scale, whose managedFields are ``scaled``.

    An updater of the Scale gets an entry of its own, without a time, as upstream has it.
    """
    before, after = _read(entries), _read(scaled)
    found: Managers = {}
    for key, managed in before.items():
        path = paths.get(managed.api_version)
        if path is None:
            continue
        if after.pop(key, None) is not None:
            found[key] = managed
            continue
        fields = managed.fields.difference(field_set([path]))
        if fields:
            found[key] = Managed(fields, managed.api_version, managed.time)
    for key, managed in after.items():
        if managed.fields.intersection(_REPLICAS):
            time = before[key].time if key in before else None
            found[key] = Managed(field_set([paths[api_version]]), api_version, time)
    return write_managers(found)


def _read(entries: Any) -> Managers:
    try:
        return read_managers(entries)
    except (ValueError, AttributeError):
        return {}
