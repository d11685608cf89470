"""Structural schemas as types of expressions, and objects as values of these types.

``declared`` gives the type of what a schema describes, None where expressions cannot see it.
``reader`` gives what turns a JSON value into the expression's: texts of times become times, whole
numbers of type ``number`` doubles; None where nothing of the value changes (KEP 2876).
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import times
from kybern.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Field,
    ObjectType,
    Type,
    list_of,
    map_of,
)
from kybern.api.errors import Obj

Reader = Callable[[Any], Any]

_RESERVED = frozenset(
    ("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for")
) | {"function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void"}
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_NAME = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*")
_SCALARS = {"boolean": BOOL, "number": DOUBLE, "integer": INT, "string": STRING}
_FORMATS = {"byte": BYTES, "duration": DURATION, "date": TIMESTAMP, "date-time": TIMESTAMP}
_TEXT: Obj = {"type": "string"}
_METADATA: Obj = {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}}
_ROOT: Obj = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _METADATA}


def escaped(name: str) -> str | None:
    """A property's name as an identifier; None where it has none."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _NAME.fullmatch(name):
        return None
    return re.sub(r"__|[./-]", lambda match: _ESCAPES[match.group()], name)


def with_root(schema: Obj, root: bool) -> Obj:
    """The schema of a whole resource, which always shows its kind and its name."""
    if not root and not schema.get("x-kubernetes-embedded-resource"):
        return schema
    return {**schema, "properties": {**(schema.get("properties") or {}), **_ROOT}}


def declared(schema: Obj, root: bool = False) -> Type | None:
    schema = with_root(schema, root)
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    match schema.get("type"):
        case "array":
            item = declared(schema["items"]) if isinstance(schema.get("items"), dict) else None
            return None if item is None else list_of(item)
        case "object":
            return _object(schema)
        case "string":
            return _FORMATS.get(schema.get("format", ""), STRING)
    return _SCALARS.get(schema.get("type", ""))


def _object(schema: Obj) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        value = declared(additional)
        return None if value is None else map_of(STRING, value)
    fields = {}
    for name, held in (schema.get("properties") or {}).items():
        type_, shown = declared(held), escaped(name)
        if type_ is not None and shown is not None:
            fields[shown] = Field(type_, name)
    return ObjectType("object", fields=fields)


def reader(schema: Obj, root: bool = False) -> Reader | None:
    schema = with_root(schema, root)
    match schema.get("type"):
        case "array":
            each = reader(schema["items"]) if isinstance(schema.get("items"), dict) else None
            return None if each is None else _list_reader(each)
        case "object":
            return _object_reader(schema)
        case "string":
            return _text_reader(schema.get("format", ""))
        case "number":
            return lambda value: float(value) if isinstance(value, int) else value
    return None


def _list_reader(each: Reader) -> Reader:
    return lambda value: [each(item) for item in value] if isinstance(value, list) else value


def _object_reader(schema: Obj) -> Reader | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        every = reader(additional)
        return None if every is None else _map_reader(every)
    found = {name: reader(held) for name, held in (schema.get("properties") or {}).items()}
    readers = {name: read for name, read in found.items() if read is not None}
    return _fields_reader(readers) if readers else None


def _map_reader(every: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: every(held) for name, held in value.items()}

    return read


def _fields_reader(readers: dict[str, Reader]) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = {name: each(value[name]) for name, each in readers.items() if name in value}
        return {**value, **changed}

    return read


def _text_reader(format_: str) -> Reader | None:
    match format_:
        case "date-time":
            return _converted(times.parse_timestamp)
        case "date":
            return _converted(lambda text: times.parse_timestamp(f"{text}T00:00:00Z"))
        case "duration":
            return _converted(times.parse_duration)
        case "byte":
            return _converted(_bytes)
    return None


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(str(error)) from None


def _converted(convert: Callable[[str], Any]) -> Reader:
    """What does not have its format stays a text: the schema's own check tells of it."""

    def read(value: Any) -> Any:
        try:
            return convert(value) if isinstance(value, str) else value
        except EvaluationError:
            return value

    return read
