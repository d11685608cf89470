"""``scale``: the number of replicas of anything that has some, as an autoscaling/v1 Scale.

Where a kind keeps its numbers is a ``ScalePaths``; custom resources declare theirs. A write
changes the number in the object itself, under the rules of the object.
"""

from typing import Any

from kybern.api.errors import Obj, bad_request, conflict, invalid, invalid_value
from kybern.api.patch import json_patch, merge_patch, strategic_merge
from kybern.api.schema import TypeSchema
from kybern.api.schema.body import Malformed, read_body
from kybern.api.selectors import LabelSelector
from kybern.apiserver.body import limited_body, read_kind
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call, ScalePaths
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.field_managers import record_update
from kybern.apiserver.negotiation import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, patch_type
from kybern.apiserver.options import WriteOptions, write_options
from kybern.apiserver.replacement import main_rules, replace
from kybern.apiserver.responses import respond
from kybern.apiserver.verbs.update import check_name
from kybern.component.http.messages import Response

_PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
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
    ensure_namespace(wanted["metadata"], call.namespace)
    check_name(call, wanted["metadata"])
    return await _write(call, options, lambda scale: wanted)


async def patch(call: Call) -> Response:
    """PATCH of a Scale."""
    format_ = patch_type(call.request.headers.get("content-type", ""), _PATCHES)
    options = write_options(call.info, "PatchOptions")
    try:
        value, _ = read_body(limited_body(call))
    except Malformed as problem:
        raise bad_request(f"error decoding patch: {problem}") from None
    if format_ != JSON_PATCH and not isinstance(value, dict):
        raise bad_request("error decoding patch: the patch must be a JSON object")
    schema = _schema(call)

    def change(scale: Obj) -> Obj:
        if format_ == JSON_PATCH:
            changed = json_patch.apply(scale, value)
        elif format_ == MERGE_PATCH:
            changed = merge_patch.apply(scale, value)
        else:
            changed = strategic_merge.apply(scale, value, schema)
        return schema.normalise(changed)

    return await _write(call, options, change)


async def _write(call: Call, options: WriteOptions, change: Any) -> Response:
    async def transform(old: Obj | None) -> Obj:
        assert old is not None, "a scale is never created"
        scale = change(_scale_of(call, old))
        _check(call, scale, old)
        new = {**old, "metadata": dict(old["metadata"])}
        version = scale["metadata"].get("resourceVersion")
        new["metadata"]["resourceVersion"] = version or ""
        _put(new, _paths(call).spec, (scale.get("spec") or {}).get("replicas", 0))
        record_update(call, new, old, options)
        return new

    written = await replace(call, transform, options, main_rules(call.served))
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
    paths = _paths(call)
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


def _paths(call: Call) -> ScalePaths:
    served = call.served
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
