"""The entries of ``metadata.managedFields``: read, written, ordered and kept few."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from kybern.api.errors import Obj
from kybern.api.managed_fields.field_set import FieldSet, parsed

UPDATE = "Update"
APPLY = "Apply"
MOST_UPDATE_MANAGERS = 10
_OLDEST = "ancient-changes"


class ManagerKey(NamedTuple):
    """Who manages: entries with the same key are one. Apply entries have no version in it."""

    manager: str
    operation: str
    api_version: str
    subresource: str


@dataclass(slots=True)
class Managed:
    """One manager's fields, in the version that they were written in."""

    fields: FieldSet
    api_version: str
    time: str | None = None


Managers = dict[ManagerKey, Managed]


def manager_key(manager: str, operation: str, api_version: str, subresource: str) -> ManagerKey:
    """The key of an entry."""
    version = "" if operation == APPLY else api_version
    return ManagerKey(manager, operation, version, subresource)


def read_managers(entries: Any) -> Managers:
    """Read ``metadata.managedFields``; raises ValueError for entries that are not valid."""
    managers: Managers = {}
    for entry in entries or ():
        operation = entry.get("operation", "")
        if operation not in (UPDATE, APPLY):
            raise ValueError("operation must be `Apply` or `Update`")
        version = entry.get("apiVersion", "")
        if not version:
            raise ValueError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            raise ValueError(f'invalid fieldsType "{entry.get("fieldsType", "")}"')
        subresource = entry.get("subresource", "")
        key = manager_key(entry.get("manager", ""), operation, version, subresource)
        fields = parsed(entry.get("fieldsV1") or {})
        managers[key] = Managed(fields, version, entry.get("time"))
    return managers


def write_managers(managers: Managers) -> list[Obj]:
    """The entries, Apply before Update, then by time and name."""
    entries = []
    for key, managed in managers.items():
        entry: Obj = {
            "manager": key.manager,
            "operation": key.operation,
            "apiVersion": managed.api_version,
            "time": managed.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": managed.fields.fields_v1(),
            "subresource": key.subresource,
        }
        entries.append({name: value for name, value in entry.items() if value not in (None, "")})
    entries.sort(key=_rank)
    return entries


def _rank(entry: Obj) -> tuple[str, ...]:
    members = ("operation", "time", "manager", "apiVersion", "subresource")
    return tuple(entry.get(member, "") for member in members)


def cap_update_managers(managers: Managers) -> None:
    """Fold the oldest Update entries of a version into one, until few enough are left."""
    updaters = [key for key in managers if key.operation == UPDATE]
    left = len(updaters)
    updaters.sort(key=lambda key: (managers[key].time or "", key))
    first_of_version: dict[str, ManagerKey] = {}
    for key in updaters:
        if left <= MOST_UPDATE_MANAGERS:
            return
        version = managers[key].api_version
        first = first_of_version.get(version)
        if first is None:
            first_of_version[version] = key
            continue
        bucket = manager_key(_OLDEST, UPDATE, version, "")
        if bucket not in managers:
            managers[bucket] = managers.pop(first)
        folded = managers.pop(key)
        fields = managers[bucket].fields.union(folded.fields)
        managers[bucket] = Managed(fields, version, folded.time)
        left -= 1


def drop_empty(managers: Managers) -> None:
    """Forget managers that own nothing."""
    for key in [key for key, managed in managers.items() if not managed.fields]:
        del managers[key]
