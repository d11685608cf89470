"""``scale``: the number of replicas of anything that has some, as an autoscaling/v1 Scale.

Where a kind keeps its numbers is a ``ScalePaths``; custom resources declare theirs. A write
changes the number in the object itself, under the rules of the object.
"""

from collections.abc import Callable
from typing import Any

from kybern.api import managed_fields
from kybern.api.errors import Obj, conflict, invalid, invalid_value
from kybern.api.kinds import ServedKind
from kybern.api.objects import copy
from kybern.api.schema import TypeSchema
from kybern.api.selectors import LabelSelector
from kybern.apiserver.body import limited_body, read_kind
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call, ScalePaths
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.field_managers import manager_of
from kybern.apiserver.negotiation import APPLY_PATCH, patch_type
from kybern.apiserver.options import WriteOptions, write_options
from kybern.apiserver.replacement import main_rules, replace
from kybern.apiserver.responses import respond
from kybern.apiserver.subresources.scale_managers import (
    SCALE_VERSION,
    managers_of_object,
    managers_of_scale,
)
from kybern.apiserver.verbs.apply import read_configuration
from kybern.apiserver.verbs.patch import patched_object, read_patch
from kybern.apiserver.verbs.update import check_name, check_resource_version
from kybern.component.http.messages import Response

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def get(call: Call) -> Response:
    """The Scale of the object that the call names."""
    cached = call.cache.get(call.key(call.info.name))
    if cached is None:
        raise call.not_found(call.info.name)
    return respond(_scale_of(call, cached.obj), 200, call.output)


async def update(call: Call) -> Response:
    """PUT of a Scale."""
    options = write_options(call.info, "UpdateOptions")
    wanted = read_kind(call, _schema(call), "autoscaling", "v1", "Scale", options)
    metadata = wanted["metadata"]
    ensure_namespace(metadata, call.namespace)
    check_name(call, metadata)
    check_resource_version(metadata)

    def change(scale: Obj) -> Obj:
        return _tracked(call, scale, copy(wanted), options)

    return await _write(call, options, change, metadata.get("uid", ""))


async def patch(call: Call) -> Response:
    """PATCH of a Scale."""
    format_ = patch_type(call.request.headers.get("content-type", ""))
    if format_ == APPLY_PATCH:
        return await _apply(call)
    options = write_options(call.info, "PatchOptions")
    schema = _schema(call)
    patch, strict = read_patch(format_, limited_body(call), schema, options)

    def change(scale: Obj) -> Obj:
        bare = {**scale, "metadata": {**scale["metadata"]}}
        bare["metadata"].pop("managedFields", None)
        new = patched_object(call, schema, patch, strict, bare, options)
        return _tracked(call, scale, new, options)

    return await _write(call, options, change)


async def _apply(call: Call) -> Response:
    """Server-side apply of a Scale."""
    options = write_options(call.info, "PatchOptions", apply=True)
    schema = _schema(call)
    applied = read_configuration(call, options, SCALE_VERSION, "Scale")

    def change(scale: Obj) -> Obj:
        merged = managed_fields.apply(
            scale,
            applied,
            schema=schema,
            manager=options.field_manager,
            force=bool(options.force),
            api_version=SCALE_VERSION,
            subresource="scale",
            now=call.services.clock.timestamp(),
        )
        new = schema.normalise(merged)
        ensure_namespace(new["metadata"], call.namespace)
        check_name(call, new["metadata"])
        check_resource_version(new["metadata"])
        return new

    return await _write(call, options, change)


def _tracked(call: Call, old: Obj, new: Obj, options: WriteOptions) -> Obj:
    """The new Scale with the writer among its managers."""
    managed_fields.track(
        old,
        new,
        schema=_schema(call),
        manager=manager_of(call, options),
        api_version=SCALE_VERSION,
        now=call.services.clock.timestamp(),
        subresource="scale",
    )
    return new


async def _write(
    call: Call, options: WriteOptions, change: Callable[[Obj], Obj], uid: str = ""
) -> Response:
    """Put into the object what ``change`` makes of its Scale."""
    served = call.served

    async def transform(old: Obj | None) -> Obj:
        assert old is not None, "a scale is never created"
        entries, paths = old["metadata"].get("managedFields"), _replica_paths(call)
        before = _scale_of(call, old)
        before["metadata"]["managedFields"] = managers_of_scale(entries, paths)
        scale = change(before)
        _check(call, scale, old)
        metadata = {**old["metadata"]}
        metadata["resourceVersion"] = scale["metadata"].get("resourceVersion") or ""
        scaled = scale["metadata"].get("managedFields")
        metadata["managedFields"] = managers_of_object(entries, scaled, served.api_version, paths)
        new = {**old, "metadata": metadata}
        _put(new, _paths(call, served).spec, (scale.get("spec") or {}).get("replicas", 0))
        return new

    written = await replace(call, transform, options, main_rules(served), uid=uid)
    stored = written.stored
    obj = stored.obj if isinstance(stored, CachedObject) else stored
    return respond(_scale_of(call, obj), 200, call.output)


def _check(call: Call, scale: Obj, old: Obj) -> None:
    name = call.info.name
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        error = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid("Scale", name, [error], "autoscaling")
    uid, actual = scale["metadata"].get("uid"), old["metadata"].get("uid", "")
    if uid and uid != actual:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise conflict(f"{call.info.resource}/scale", name, why, call.info.group)


def _scale_of(call: Call, obj: Obj) -> Obj:
    paths = _paths(call, call.served)
    metadata = obj["metadata"]
    status: Obj = {"replicas": _at(obj, paths.status) or 0}
    selector = _selector(obj, paths)
    if selector:
        status["selector"] = selector
    replicas = _at(obj, paths.spec)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in _COPIED if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _selector(obj: Obj, paths: ScalePaths) -> str:
    """The pods' selector as text; custom resources keep it as text already."""
    found = _at(obj, paths.selector) if paths.selector else None
    if isinstance(found, str):
        return found
    if not isinstance(found, dict):
        return ""
    if "matchLabels" in found or "matchExpressions" in found:
        return str(LabelSelector.from_object(found))
    return str(LabelSelector.from_labels(found))


def _replica_paths(call: Call) -> dict[str, tuple[str, ...]]:
    return {one.api_version: _paths(call, one).spec for one in call.kind.served()}


def _paths(call: Call, served: ServedKind) -> ScalePaths:
    custom = call.services.scale_paths.get((served.group, served.version, served.kind.kind))
    return custom or ScalePaths()


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


def _put(obj: Obj, path: tuple[str, ...], value: int) -> None:
    """Set a value without changing what the outer dicts share with others."""
    for step in path[:-1]:
        inner = obj.get(step)
        obj[step] = dict(inner) if isinstance(inner, dict) else {}
        obj = obj[step]
    obj[path[-1]] = value


def _schema(call: Call) -> TypeSchema:
    return call.services.schema("autoscaling", "v1", "Scale")


VERBS = {"get": get, "update": update, "patch": patch}
