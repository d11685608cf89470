"""PATCH: JSON patch, merge patch and strategic merge patch; apply is in ``apply.py``.

The patch is read once and applied to the freshest object in each try of the compare-and-swap
loop. What comes out is checked like a body.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import orjson

from kybern.api.errors import Obj, StatusError, bad_request, invalid, invalid_value
from kybern.api.patch import json_patch, merge_patch, strategic_merge
from kybern.api.schema.body import Malformed, read_body
from kybern.api.schema.check import Checker, WrongType
from kybern.api.schema.foreign_kind import foreign_kind, kind_problem
from kybern.api.schema.type_schema import TypeSchema
from kybern.apiserver.body import limited_body
from kybern.apiserver.call import Call
from kybern.apiserver.creation import ensure_namespace
from kybern.apiserver.field_managers import record_update
from kybern.apiserver.negotiation import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    PATCH_TYPES,
    STRATEGIC_PATCH,
    patch_type,
)
from kybern.apiserver.options import WriteOptions, write_options
from kybern.apiserver.replacement import Rules, main_rules, replace
from kybern.apiserver.responses import object_response
from kybern.apiserver.verbs.apply import apply_by
from kybern.apiserver.verbs.update import check_name, check_resource_version
from kybern.component.http.messages import Response

_NO_PATCH = "Invalid JSON Patch"
_CUSTOM_PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)


async def patch(call: Call) -> Response:
    """Patch the resource itself."""
    return await patch_by(call, main_rules(call.served))


async def patch_by(call: Call, rules: Rules) -> Response:
    """Patch what the rules allow to change."""
    supported = _CUSTOM_PATCH_TYPES if call.is_custom else PATCH_TYPES
    try:
        format_ = patch_type(call.request.headers.get("content-type", ""), supported)
    except StatusError:
        # Upstream's router refuses before anything is warned of.
        call.warnings.clear()
        raise
    if format_ == APPLY_PATCH:
        return await apply_by(call, rules)
    options = write_options(call.info, "PatchOptions")
    body = limited_body(call)

    @cache
    def patch() -> tuple[Change, list[str]]:
        return read_patch(format_, body, call.schema, options)

    async def transform(old: Obj | None) -> Obj:
        if old is None:
            raise call.not_found(call.info.name)
        # Only now, for that there is no object counts before what is wrong with the patch.
        change, strict = patch()
        new = _patched(call, change, strict, old, options)
        record_update(call, new, old, options)
        return new

    written = await replace(call, transform, options, rules)
    return object_response(call, written.stored)


class Change:
    """A patch that was read: how to apply it, and how to show it in an error.

    ``is_tree`` where upstream merges a tree rather than a text.
    """

    def __init__(
        self, apply: Callable[[Obj], Obj], shown: Callable[[Obj], str], *, is_tree: bool = False
    ) -> None:
        self.apply = apply
        self.shown = shown
        self.is_tree = is_tree


def read_patch(
    format_: str, body: bytes, schema: TypeSchema, options: WriteOptions
) -> tuple[Change, list[str]]:
    """The patch, and what strict field validation has against its text."""
    lax = options.field_validation == "Ignore"
    prefix = "" if format_ == STRATEGIC_PATCH or lax else "error decoding patch: "
    try:
        value, duplicates = read_body(body)
    except Malformed as problem:
        raise bad_request(
            _NO_PATCH if lax and format_ == MERGE_PATCH else f"{prefix}{problem}"
        ) from None
    strict = [f'duplicate field "{path}"' for path in duplicates]
    if format_ == JSON_PATCH:
        if not lax:
            _require_operations(value)
        strict = [f"json patch {text}" for text in strict]
        operations = [] if value is None else value
        return Change(lambda doc: json_patch.apply(doc, operations), _as_json), strict
    if format_ == MERGE_PATCH and (value is None or (lax and not isinstance(value, dict))):
        raise bad_request(_NO_PATCH)
    _require(value, dict, f"{prefix}json: cannot unmarshal", "map[string]interface {}")
    if format_ == MERGE_PATCH:
        return Change(lambda doc: merge_patch.apply(doc, value), _as_json), strict
    return Change(
        lambda doc: strategic_merge.apply(doc, value, schema),
        lambda doc: _go_value(value),
        is_tree=True,
    ), strict


def _patched(call: Call, change: Change, strict: list[str], old: Obj, options: WriteOptions) -> Obj:
    """The patched object in the storage version, checked and defaulted."""
    served = call.served
    obj = patched_object(call, call.schema, change, strict, served.from_storage(old), options)
    obj["kind"], obj["apiVersion"] = call.kind.kind, served.api_version
    served.strategy.default(obj)
    return served.to_storage(obj)


def patched_object(
    call: Call, schema: TypeSchema, change: Change, strict: list[str], old: Obj, opts: WriteOptions
) -> Obj:
    """An object of any kind with a patch applied and checked like a body.

    It is still of the same name and namespace; raises StatusError 400 and 422 else.
    """
    patched = change.apply(old)
    if not change.is_tree and not call.is_custom:
        _check_kind(schema, change, patched)
    try:
        obj, unknown = schema.read(patched)
    except StatusError as error:
        why = error.message.partition(": ")[2]
        if change.is_tree:
            why = _conversion_problem(schema, patched) or why
        raise _invalid_patch(change.shown(patched), why) from None
    if opts.field_validation != "Ignore":
        problems = strict + [f'unknown field "{path}"' for path in unknown]
        if problems and opts.field_validation == "Strict":
            why = f"strict decoding error: {', '.join(problems)}"
            raise _invalid_patch(change.shown(patched), why)
        for text in problems:
            call.warn(text)
    metadata = obj["metadata"]
    ensure_namespace(metadata, call.namespace)
    check_name(call, metadata)
    check_resource_version(metadata)
    return obj


def _check_kind(schema: TypeSchema, change: Change, patched: Obj) -> None:
    """What is patched stays of its kind: upstream reads it back from text by its name."""
    problem = kind_problem(patched)
    api_version, kind = patched.get("apiVersion"), patched.get("kind") or schema.kind
    if not problem and not api_version:
        # Without a version nothing of the text is read, not even the name.
        patched["metadata"] = {}
        return
    if not problem and (api_version, kind) != (schema.api_version, schema.kind):
        group, _, version = str(api_version).rpartition("/")
        problem = foreign_kind(group, version, kind, schema.group, schema.kind)
    if problem:
        raise _invalid_patch(change.shown(patched), problem)


def _conversion_problem(schema: TypeSchema, patched: Obj) -> str:
    """What upstream says of a patch that it merges as a tree and then converts."""
    try:
        Checker().check(schema.type, patched)
    except WrongType as problem:
        return problem.converted
    return ""


def _require(value: Any, wanted: type, prefix: str, target: str) -> None:
    if isinstance(value, wanted) or value is None:
        return
    found = {dict: "object", list: "array", str: "string", bool: "bool"}
    raise bad_request(f"{prefix} {found.get(type(value), 'number')} into Go value of type {target}")


def _require_operations(value: Any) -> None:
    prefix = "error decoding patch: json: cannot unmarshal"
    _require(value, list, prefix, "[]handlers.jsonPatchOp")
    for operation in value or ():
        _require(operation, dict, prefix, "handlers.jsonPatchOp")


def _invalid_patch(shown: str, why: str) -> StatusError:
    return invalid("", "", [invalid_value("patch", shown, why)])


def _as_json(doc: Obj) -> str:
    return orjson.dumps(doc, option=orjson.OPT_SORT_KEYS).decode()


def _go_value(value: Any) -> str:
    """A value as Go prints it with ``%+v``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
