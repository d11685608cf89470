"""Who owns which field: keeps ``metadata.managedFields`` on every write that is no apply.

The writes call :func:`record_update` after decoding and patching, before admission, so that what
admission and the server fill in belongs to nobody, as upstream has it.
"""

from functools import partial
from typing import Any

from kybern.api import managed_fields
from kybern.api.errors import Obj
from kybern.api.managed_fields.field_set import FieldSet, field_set
from kybern.api.schema.type_schema import TypeSchema
from kybern.apiserver.call import Call
from kybern.apiserver.options import LONGEST_FIELD_MANAGER, WriteOptions


def manager_of(call: Call, options: WriteOptions) -> str:
    """The ``fieldManager`` parameter, or the program's name in the User-Agent."""
    if options.field_manager:
        return options.field_manager
    agent = call.request.headers.get("user-agent", "").partition("/")[0]
    name = "".join(character for character in agent if character.isprintable())
    return name.encode()[:LONGEST_FIELD_MANAGER].decode(errors="ignore")


def ignored_fields(call: Call) -> FieldSet | None:
    """What a write through the call's door cannot change; None for what is usual."""
    paths = call.served.strategy.resets.get(call.info.subresource)
    return None if paths is None else field_set(paths)


def in_version(call: Call, obj: Obj, api_version: str) -> tuple[TypeSchema, Obj] | None:
    """An object of the call's version in another of its kind's, with the schema of that one.

    Versions of other groups count as unknown, as they do upstream.
    """
    for served in call.kind.served():
        if served.api_version == api_version and served.group == call.served.group:
            converted = served.from_storage(call.served.to_storage(obj))
            return call.services.schema(served.group, served.version, call.kind.kind), converted
    return None


def record_update(call: Call, new: Obj, old: Obj | None, options: WriteOptions) -> None:
    """Set ``managedFields`` of ``new``; both objects are in the storage version."""
    served = call.served
    version = served.from_storage(new)
    managed_fields.track(
        None if old is None else served.from_storage(old),
        version,
        schema=call.schema,
        manager=manager_of(call, options),
        operation="Update",
        api_version=served.api_version,
        subresource=call.info.subresource,
        now=call.services.clock.timestamp(),
        ignored=ignored_fields(call),
        convert=partial(in_version, call),
    )
    if version is not new:
        _take_over(new["metadata"], version["metadata"])


def _take_over(target: Obj, source: Obj) -> None:
    if "managedFields" in source:
        target["managedFields"] = source["managedFields"]
    else:
        target.pop("managedFields", None)


def same_but_times(new: Obj, old: Obj) -> bool:
    """Whether two objects differ in nothing but the times of their managed fields."""
    ours, theirs = new["metadata"], old["metadata"]
    if ours.get("managedFields") == theirs.get("managedFields"):
        return new == old
    if _without_times(ours) != _without_times(theirs):
        return False
    return _without_metadata(new) == _without_metadata(old)


def _without_times(metadata: Obj) -> Obj:
    entries: list[dict[str, Any]] = metadata.get("managedFields") or []
    timeless = [{key: entry[key] for key in entry if key != "time"} for entry in entries]
    return {**metadata, "managedFields": timeless}


def _without_metadata(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key != "metadata"}
