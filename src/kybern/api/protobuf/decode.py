"""From protobuf to the JSON object that it stands for.

The API server calls :func:`decode` for bodies of that media type and goes on with JSON, so
everything behind it (checks, defaults, validation) is the same for both. Unknown fields are
skipped, as protobuf has it.
"""

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from kybern.api.protobuf.table import META, Field, fields_of, message_of

Obj = dict[str, Any]

MAGIC = b"k8s\x00"
DEEPEST = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MalformedProtobuf(ValueError):
    """The bytes are no message, or one of a kind that has no protobuf form."""


def decode(body: bytes) -> Obj:
    """The object in a Kubernetes protobuf envelope; raises MalformedProtobuf."""
    if not body.startswith(MAGIC):
        raise MalformedProtobuf(
            "provided data does not appear to be a protobuf message, "
            f"expected prefix [{' '.join(map(str, MAGIC))}]"
        )
    api_version = kind = ""
    raw = b""
    for number, value in _wire_fields(memoryview(body)[len(MAGIC) :]):
        if number == 1 and isinstance(value, memoryview):
            texts = {n: bytes(v).decode() for n, v in _wire_fields(value) if _is_bytes(v)}
            api_version, kind = texts.get(1, ""), texts.get(2, "")
        elif number == 2 and isinstance(value, memoryview):
            raw = bytes(value)
    try:
        message = message_of(api_version, kind)
        obj = _message(memoryview(raw), message, 0)
    except KeyError:
        raise MalformedProtobuf(f"no protobuf form of {api_version} {kind}") from None
    except (UnicodeDecodeError, orjson.JSONDecodeError, OverflowError) as error:
        raise MalformedProtobuf(str(error)) from None
    return {"kind": kind, "apiVersion": api_version, **obj}


def _is_bytes(value: object) -> bool:
    return isinstance(value, memoryview)


def _wire_fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Numbers and raw values: integers, or views of length-delimited bytes."""
    position, end = 0, len(data)
    while position < end:
        # Almost every tag and size is a single byte, and those need no loop.
        tag = data[position]
        if tag < 0x80:
            position += 1
        else:
            tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _BYTES:
            if position < end and data[position] < 0x80:
                size = data[position]
                position += 1
            else:
                size, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise MalformedProtobuf(f"illegal wireType {wire}")
        if size > end - position:
            raise MalformedProtobuf("unexpected EOF")
        yield number, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise MalformedProtobuf("unexpected EOF" if shift <= 63 else "integer overflow")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _message(data: memoryview, message: str, depth: int) -> Any:
    special = _SPECIAL.get(message)
    if special is not None:
        return special(data)
    if depth > DEEPEST:
        raise MalformedProtobuf("exceeded max depth")
    fields = fields_of(message)
    obj: Obj = {}
    for number, raw in _wire_fields(data):
        field = fields.get(number)
        if field is not None:
            _put(obj, field, raw, depth)
    return _unwrapped(message, obj)


def _put(obj: Obj, field: Field, raw: Any, depth: int) -> None:
    if field.label == "%":
        key, value = _entry(raw, field.type, depth)
        obj.setdefault(field.name, {})[key] = value
        return
    value = _value(raw, field.type, depth)
    if field.label == "*":
        obj.setdefault(field.name, []).append(value)
    elif field.label == ">":
        obj.update(value)
    elif value is not None:
        obj[field.name] = value


def _entry(raw: Any, type_: str, depth: int) -> tuple[str, Any]:
    if not isinstance(raw, memoryview):
        raise MalformedProtobuf("a map entry is no message")
    key, value = "", None
    for number, part in _wire_fields(raw):
        if number == 1:
            key = _value(part, "s", depth)
        elif number == 2:
            value = _value(part, type_, depth)
    return key, "" if value is None and type_ in "sb" else value


def _value(raw: Any, type_: str, depth: int) -> Any:
    if type_ in ("i", "o"):
        if not isinstance(raw, int):
            raise MalformedProtobuf("an integer is expected")
        return bool(raw) if type_ == "o" else _signed(raw)
    if not isinstance(raw, memoryview):
        raise MalformedProtobuf("bytes are expected")
    if type_ == "s":
        return str(raw, "utf-8")
    if type_ == "b":
        return base64.b64encode(raw).decode()
    if type_ == "d":
        return _double(raw)
    return _message(raw, type_, depth + 1)


def _double(raw: memoryview) -> float:
    if len(raw) != 8:
        raise MalformedProtobuf("a double is expected")
    number: float = struct.unpack("<d", raw)[0]
    return number


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def _parts(data: memoryview) -> dict[int, Any]:
    return dict(_wire_fields(data))


def _time(data: memoryview) -> str | None:
    moment = _moment(data)
    return None if moment is None else _utc(moment, "seconds")


def _micro_time(data: memoryview) -> str | None:
    moment = _moment(data)
    return None if moment is None else _utc(moment, "microseconds")


def _utc(moment: datetime, precision: str) -> str:
    """RFC 3339 with four digits for any year, which strftime does not give."""
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _moment(data: memoryview) -> datetime | None:
    """An empty message is Go's zero time, which JSON has as null."""
    if not len(data):
        return None
    parts = _parts(data)
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise MalformedProtobuf("a timestamp is expected")
    return _EPOCH + timedelta(seconds=_signed(seconds), microseconds=_signed(nanos) // 1000)


def _text(data: memoryview) -> str:
    found = _parts(data).get(1)
    return bytes(found).decode() if isinstance(found, memoryview) else ""


def _int_or_string(data: memoryview) -> int | str:
    parts = _parts(data)
    text = parts.get(3)
    if parts.get(1):
        return bytes(text).decode() if isinstance(text, memoryview) else ""
    number = parts.get(2, 0)
    return _signed(number) if isinstance(number, int) else 0


def _json(data: memoryview) -> Any:
    found = _parts(data).get(1)
    return orjson.loads(bytes(found)) if isinstance(found, memoryview) and len(found) else None


def _duration(data: memoryview) -> str:
    nanos = _parts(data).get(1, 0)
    return f"{_signed(nanos) / 1e9:g}s" if isinstance(nanos, int) else "0s"


_SPECIAL: dict[str, Callable[[memoryview], Any]] = {
    f"{META}.Time": _time,
    f"{META}.MicroTime": _micro_time,
    f"{META}.Duration": _duration,
    f"{META}.FieldsV1": _json,
    "apimachinery.pkg.api.resource.Quantity": _text,
    "apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "apimachinery.pkg.runtime.RawExtension": _json,
    "apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": _json,
}


# Go writes these fields of a schema even when they are empty, and JSON leaves them out then. What
# stands below ``items`` has no type of its own in which normalising would find that out.
_EMPTY_IN_SCHEMAS = {
    **dict.fromkeys(("id", "$schema", "description", "type", "format", "title", "pattern"), ""),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable"), False),
    **dict.fromkeys(("x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"), False),
}


def _unwrapped(message: str, obj: Obj) -> Any:
    """Messages that wrap what JSON has bare (lists of strings, unions), and custom schemas."""
    name = message.rpartition(".")[2]
    if name == "JSONSchemaProps":
        return {key: v for key, v in obj.items() if _EMPTY_IN_SCHEMAS.get(key) != v}
    if name in ("Verbs", "ExtraValue"):
        return obj.get("items", [])
    if name == "JSONSchemaPropsOrBool":
        return obj["schema"] if "schema" in obj else obj.get("allows", False)
    if name == "JSONSchemaPropsOrArray":
        return obj["schema"] if "schema" in obj else obj.get("jSONSchemas", [])
    if name == "JSONSchemaPropsOrStringArray":
        return obj["schema"] if "schema" in obj else obj.get("property", [])
    return obj
