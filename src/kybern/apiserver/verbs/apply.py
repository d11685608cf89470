"""Server-side apply: a PATCH that says what a manager wants, and owns what it says."""

import dataclasses
from functools import partial

from kybern.api import managed_fields
from kybern.api.errors import Obj, bad_request, conflict
from kybern.api.schema.body import Malformed, read_body
from kybern.apiserver.body import limited_body
from kybern.apiserver.call import Call
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.field_managers import ignored_fields, in_version
from kybern.apiserver.negotiation import YAML
from kybern.apiserver.options import WriteOptions, write_options
from kybern.apiserver.replacement import Rules, replace
from kybern.apiserver.responses import object_response
from kybern.apiserver.verbs.update import check_name, check_resource_version
from kybern.component.http.messages import Response


async def apply_by(call: Call, rules: Rules) -> Response:
    """Merge the applied configuration; on the main resource it creates what is not there."""
    options = write_options(call.info, "PatchOptions", apply=True)
    applied, duplicates = _read_configuration(call)
    if duplicates and options.field_validation == "Strict":
        raise bad_request(f"error strict decoding YAML: {', '.join(duplicates)}")
    for text in duplicates if options.field_validation == "Warn" else ():
        call.warn(text)

    async def transform(old: Obj | None) -> Obj:
        new = _applied(call, old, applied, options)
        if old is None:
            _refuse_uid(call, new)
        return new

    permitted = dataclasses.replace(rules, may_create=not call.info.subresource)
    written = await replace(call, transform, options, permitted)
    return object_response(call, written.stored, 201 if written.created else 200)


def _read_configuration(call: Call) -> tuple[Obj, list[str]]:
    try:
        value, duplicates = read_body(limited_body(call), YAML)
    except Malformed as problem:
        raise bad_request(f"error decoding YAML: {problem}") from None
    if not isinstance(value, dict):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            "unmarshal into Go value of type map[string]interface {}"
        )
    version, kind = value.get("apiVersion") or "", value.get("kind") or ""
    if (version, kind) != (call.served.api_version, call.kind.kind):
        group, slash, short = str(version).partition("/")
        shown = f"{group}/{short}" if slash else f"/{group}"
        raise bad_request(f"invalid object type: {shown}, Kind={kind}")
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    return value, duplicates


def _applied(call: Call, old: Obj | None, applied: Obj, options: WriteOptions) -> Obj:
    """The merged object in the storage version, defaulted."""
    served, schema = call.served, call.schema
    merged = managed_fields.apply(
        None if old is None else served.from_storage(old),
        applied,
        schema=schema,
        manager=options.field_manager,
        force=bool(options.force),
        api_version=served.api_version,
        subresource=call.info.subresource,
        now=call.services.clock.timestamp(),
        ignored=ignored_fields(call),
        convert=partial(in_version, call),
    )
    obj = schema.normalise(merged)
    obj["kind"], obj["apiVersion"] = call.kind.kind, served.api_version
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    ensure_namespace(obj["metadata"], call.namespace)
    check_name(call, obj["metadata"])
    check_resource_version(obj["metadata"])
    served.strategy.default(obj)
    return served.to_storage(obj)


def _refuse_uid(call: Call, new: Obj) -> None:
    """A configuration with a UID means an object that exists; raises StatusError 409."""
    uid = new["metadata"].get("uid")
    if uid:
        why = (
            f"uid mismatch: the provided object specified uid {uid}, "
            "and no existing object was found"
        )
        raise conflict(call.info.resource, call.info.name, why, call.info.group)
