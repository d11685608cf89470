"""Server-side apply: a PATCH that says what a manager wants, and owns what it says."""

import dataclasses
from functools import partial

from kybern.api import managed_fields
from kybern.api.errors import Obj, bad_request, conflict
from kybern.api.schema.body import Malformed, read_body
from kybern.api.schema.foreign_kind import json_name
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
    applied = read_configuration(call, options, call.served.api_version, call.kind.kind)

    async def transform(old: Obj | None) -> Obj:
        new = _applied(call, old, applied, options)
        if old is None:
            _refuse_uid(call, new)
        return new

    permitted = dataclasses.replace(rules, may_create=not call.info.subresource)
    written = await replace(call, transform, options, permitted)
    return object_response(call, written.stored, 201 if written.created else 200)


def read_configuration(call: Call, options: WriteOptions, api_version: str, kind: str) -> Obj:
    """The applied configuration in the body, of the kind given; raises StatusError 400."""
    try:
        value, duplicates = read_body(limited_body(call), YAML)
    except Malformed as problem:
        where = "error converting YAML to JSON: " if str(problem).startswith("yaml: ") else ""
        raise bad_request(f"error decoding YAML: {where}{problem}") from None
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            f"unmarshal {json_name(value)} into Go value of type map[string]interface {{}}"
        )
    version, found = value.get("apiVersion") or "", value.get("kind") or ""
    if (version, found) != (api_version, kind):
        raise bad_request(f"invalid object type: {_shown_kind(version, found)}")
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if duplicates and options.field_validation == "Strict":
        why = "\n  ".join(["error converting YAML to JSON: yaml: unmarshal errors:", *duplicates])
        raise bad_request(f"error strict decoding YAML: {why}")
    for text in duplicates if options.field_validation == "Warn" else ():
        call.warn(text)
    return value


def _shown_kind(api_version: object, kind: object) -> str:
    """A kind as Go prints it; what is not even text counts as empty."""
    version = api_version if isinstance(api_version, str) else ""
    if version.count("/") > 1:
        return "/, Kind="
    group, slash, short = version.partition("/")
    return (
        f"{group if slash else ''}/{short or group}, Kind={kind if isinstance(kind, str) else ''}"
    )


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
