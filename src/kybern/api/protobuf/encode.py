"""From a JSON object to the protobuf that stands for it.

The API server calls :func:`message` for the bytes of one object, which it keeps, and puts them
into an :func:`envelope`, a :func:`list_message` or a :func:`watch_frame`; :func:`encode` does all
for a document that is made only once. Each message of the table is compiled once into a closure
that walks the object's own fields, so what is absent costs nothing. Fields come in the order of
the object, which protobuf leaves open; names that the table does not know are left out.
"""

import base64
import struct
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import orjson

from kybern.api.protobuf.decode import MAGIC, Obj
from kybern.api.protobuf.table import META, Field, fields_of, message_of

Encoder = Callable[[Any], bytes | bytearray]
Writer = Callable[[bytearray, Any], None]

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_WORD = (1 << 64) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_CACHED_TIMES = 4096  # bounds what old time stamps can fill


def encode(obj: Obj) -> bytes:
    """A whole document in its envelope; raises KeyError if its kind has no protobuf form."""
    api_version, kind = obj["apiVersion"], obj["kind"]
    return envelope(api_version, kind, message(api_version, kind, obj))


def message(api_version: str, kind: str, obj: Obj) -> bytes:
    """The message of an object, without its kind; raises KeyError if there is no such form."""
    return bytes(_encoder(message_of(api_version, kind))(obj))


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """A message with what says its kind."""
    return _envelope_head(api_version, kind) + _varint(len(raw)) + raw + b"\x1a\x00\x22\x00"


def list_message(metadata: Obj, items: Iterable[bytes]) -> bytes:
    """The message of a list, from those of its items."""
    head = _encoder(f"{META}.ListMeta")(metadata)
    parts: list[bytes | bytearray] = [b"\x0a", _varint(len(head)), head]
    for item in items:
        parts += (b"\x12", _varint(len(item)), item)
    return b"".join(parts)


def watch_frame(type_: str, document: bytes) -> bytes:
    """A watch event as a stream has it: its length in four bytes, then the event itself."""
    raw = b"\x0a%b%b" % (_varint(len(document)), document)
    name = type_.encode()
    event = b"\x0a%b%b\x12%b%b" % (_varint(len(name)), name, _varint(len(raw)), raw)
    return struct.pack(">I", len(event)) + event


def watch_events(frames: bytes) -> Iterator[bytes]:
    """The events in a run of whole frames."""
    position = 0
    while position < len(frames):
        (size,) = struct.unpack_from(">I", frames, position)
        position += 4 + size
        yield frames[position - size : position]


@lru_cache(maxsize=512)
def _envelope_head(api_version: str, kind: str) -> bytes:
    version, name = api_version.encode(), kind.encode()
    type_meta = b"\x0a%b%b\x12%b%b" % (_varint(len(version)), version, _varint(len(name)), name)
    return MAGIC + b"\x0a" + _varint(len(type_meta)) + type_meta + b"\x12"


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _SHORT[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT = tuple(bytes((number,)) for number in range(0x80))
_ENCODERS: dict[str, Encoder] = {}


def _encoder(name: str) -> Encoder:
    """The compiled encoder of a message."""
    found = _ENCODERS.get(name)
    if found is None:
        found = _compiled(name)
    return found


def _compiled(name: str) -> Encoder:
    """Compile a message. It is known before its fields are, because messages hold themselves."""
    special = _SPECIAL.get(name)
    if special is not None:
        _ENCODERS[name] = special
        return special
    writers: dict[str, Writer] = {}
    inlined: list[tuple[bytes, Encoder]] = []

    def encode_message(obj: Obj) -> bytearray:
        out = bytearray()
        for field, value in obj.items():
            write = writers.get(field)
            if write is not None and value is not None:
                write(out, value)
        for tag, encode_part in inlined:
            part = encode_part(obj)
            if part:
                out += tag + _varint(len(part)) + part
        return out

    wrap = _WRAPPED.get(name.rpartition(".")[2])
    encoder: Encoder = encode_message if wrap is None else lambda value: encode_message(wrap(value))
    _ENCODERS[name] = encoder
    for number, field in fields_of(name).items():
        if field.label == ">":
            inlined.append((_tag(number, _BYTES), _encoder(field.type)))
        else:
            writers[field.name] = _writer(number, field)
    return encoder


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _writer(number: int, field: Field) -> Writer:
    """What writes a field: its tag and its value, or all the values that it repeats."""
    if field.label == "%":
        return _map_writer(_tag(number, _BYTES), _value_writer(2, field.type))
    write = _value_writer(number, field.type)
    if field.label != "*":
        return write

    def write_all(out: bytearray, values: list[Any]) -> None:
        for value in values:
            write(out, value)

    return write_all


def _map_writer(tag: bytes, write_value: Writer) -> Writer:
    write_key = _value_writer(1, "s")

    def write(out: bytearray, entries: dict[str, Any]) -> None:
        for key, value in entries.items():
            entry = bytearray()
            write_key(entry, key)
            if value is not None:
                write_value(entry, value)
            out += tag + _varint(len(entry))
            out += entry

    return write


def _value_writer(number: int, type_: str) -> Writer:
    if type_ in "io":
        return _number_writer(_tag(number, _VARINT))
    if type_ == "d":
        tag = _tag(number, _FIXED64)
        return lambda out, value: out.extend(tag + struct.pack("<d", value))
    return _bytes_writer(_tag(number, _BYTES), _SCALARS.get(type_) or _encoder(type_))


def _number_writer(tag: bytes) -> Writer:
    heads = _heads(tag)

    def write(out: bytearray, value: int) -> None:
        out += heads[value] if 0 <= value < 0x80 else tag + _varint(value & _WORD)

    return write


def _bytes_writer(tag: bytes, encode_value: Encoder) -> Writer:
    heads = _heads(tag)

    def write(out: bytearray, value: Any) -> None:
        part = encode_value(value)
        size = len(part)
        out += heads[size] if size < 0x80 else tag + _varint(size)
        out += part

    return write


@cache
def _heads(tag: bytes) -> tuple[bytes, ...]:
    """A tag with each number of one byte; there are as many tags as there are field numbers."""
    return tuple(tag + short for short in _SHORT)


_SCALARS: dict[str, Encoder] = {"s": str.encode, "b": base64.b64decode}


@lru_cache(maxsize=_CACHED_TIMES)
def _time(text: str) -> bytes:
    """Whole seconds: what JSON does not show, protobuf must not either."""
    seconds = (datetime.fromisoformat(text) - _EPOCH) // _SECOND
    return b"\x08%b\x10\x00" % _varint(seconds & _WORD)


def _micro_time(text: str) -> bytes:
    since = datetime.fromisoformat(text) - _EPOCH
    seconds = since // _SECOND
    return b"\x08%b\x10%b" % (_varint(seconds & _WORD), _varint(since.microseconds * 1000))


def _text(value: Any) -> bytes:
    text = str(value).encode()
    return b"\x0a%b%b" % (_varint(len(text)), text)


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, int):
        return b"\x08\x00\x10%b\x1a\x00" % _varint(value & _WORD)
    text = value.encode()
    return b"\x08\x01\x10\x00\x1a%b%b" % (_varint(len(text)), text)


def _json(value: Any) -> bytes:
    """The text of what has no fields of its own; null is the absence of one."""
    if value is None:
        return b""
    text = orjson.dumps(value)
    return b"\x0a%b%b" % (_varint(len(text)), text)


_SPECIAL: dict[str, Encoder] = {
    f"{META}.Time": _time,
    f"{META}.MicroTime": _micro_time,
    f"{META}.FieldsV1": _json,
    "apimachinery.pkg.api.resource.Quantity": _text,
    "apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "apimachinery.pkg.runtime.RawExtension": _json,
    "apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": _json,
}


def _listed(name: str) -> Callable[[Any], Obj]:
    """A message around what JSON has bare: a list, or else a schema."""
    return lambda value: {name: value} if isinstance(value, list) else {"schema": value}


_WRAPPED: dict[str, Callable[[Any], Obj]] = {
    "Verbs": _listed("items"),
    "ExtraValue": _listed("items"),
    "JSONSchemaPropsOrArray": _listed("jSONSchemas"),
    "JSONSchemaPropsOrStringArray": _listed("property"),
    "JSONSchemaPropsOrBool": lambda value: (
        {"allows": value} if isinstance(value, bool) else {"allows": True, "schema": value}
    ),
}
