"""From the body of a request to an object: decoded, checked against the kind, defaulted.

Create and update call :func:`read_object`; subresources with kinds of their own (Scale, Binding,
Eviction) call :func:`read_kind`. What a body holds too much is a warning or an error, as
``fieldValidation`` says.
"""

import orjson

from kybern.api import protobuf
from kybern.api.errors import Obj, bad_request, request_too_large
from kybern.api.schema import Decoded, TypeSchema
from kybern.api.schema.body import Malformed, read_body
from kybern.api.schema.type_schema import summary
from kybern.apiserver.call import Call
from kybern.apiserver.negotiation import JSON, PROTOBUF, body_type
from kybern.apiserver.options import WriteOptions

MAX_BODY_BYTES = 3 * 1024 * 1024


def limited_body(call: Call) -> bytes:
    """The body; raises StatusError 413."""
    body = call.request.body
    if len(body) > MAX_BODY_BYTES:
        raise request_too_large(f"Request entity too large: limit is {MAX_BODY_BYTES}")
    return body


def typed_body(call: Call) -> tuple[bytes, str]:
    """The body as JSON or YAML, and which of the two; raises StatusError 400, 413 and 415."""
    media_type = body_type(call.request.headers.get("content-type", ""))
    body = limited_body(call)
    if media_type != PROTOBUF or not body:
        return body, media_type
    try:
        return orjson.dumps(protobuf.decode(body)), JSON
    except protobuf.MalformedProtobuf as problem:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {call.kind.kind}): {problem} "
            f"({summary(body)})"
        ) from None


def read_object(call: Call, options: WriteOptions) -> Obj:
    """The object of the call's kind in the body, defaulted, in the served version."""
    served = call.served
    obj = read_kind(call, call.schema, served.group, served.version, served.kind.kind, options)
    served.strategy.default(obj)
    return obj


def read_kind(
    call: Call,
    schema: TypeSchema,
    group: str,
    version: str,
    kind: str,
    options: WriteOptions,
    *,
    same_form: str = "",
) -> Obj:
    """An object of any kind in the body, without unknown fields, not defaulted.

    ``same_form`` is another apiVersion, equal in form, that the body may name.
    """
    body, media_type = typed_body(call)
    if same_form and same_form.encode() in body:
        body, media_type = _renamed(body, media_type, same_form, f"{group}/{version}")
    decoded = schema.decode(body, media_type)
    report_extra_fields(call, decoded, options.field_validation, kind, version)
    obj = decoded.obj
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    return obj


def _renamed(body: bytes, media_type: str, found: str, wanted: str) -> tuple[bytes, str]:
    """The body and its type, with another apiVersion if it names the one to replace."""
    try:
        obj, _ = read_body(body, media_type)
        if isinstance(obj, dict) and obj.get("apiVersion") == found:
            return orjson.dumps({**obj, "apiVersion": wanted}), JSON
    except (Malformed, orjson.JSONEncodeError):
        pass  # the caller's own reading says what is wrong
    return body, media_type


def report_extra_fields(
    call: Call, decoded: Decoded, validation: str, kind: str, version: str
) -> None:
    """Warn of unknown and duplicate fields, or refuse them."""
    if validation == "Ignore" or not (decoded.unknown or decoded.duplicates):
        return
    problems = decoded.strict_problems()
    if validation == "Strict":
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(problems)}"
        )
    for text in problems:
        call.warn(text)
