"""Normalising: an object as upstream's types would write it, by closures compiled per type.

Called for every object on its way in. Quantities and times take their canonical form, empty
optional fields vanish, and the fields that are always written appear. The result is a fresh object
that shares nothing with the input.

This is the fast path: at the first thing that is not as it should be (an unknown field, a wrong
type) it raises :class:`Irregular`, and ``check`` finds out exactly what is wrong, or prunes.
"""

import binascii
import re
from collections.abc import Callable
from typing import Any

import orjson

from kybern.api.quantity import canonical
from kybern.api.schema.times import canonical_micro_time, canonical_time
from kybern.api.schema.types import Field, Shape, Type

Reader = Callable[[Any], Any]
"""Takes a JSON value that is not null, returns its normal form."""

_NO_LINE_BREAKS = {ord("\r"): None, ord("\n"): None}
_CANONICAL_TIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z")


class Irregular(Exception):
    """The value is not of its type, or has fields that its type lacks."""


def copy_json(value: Any) -> Any:
    """A deep copy of a JSON value."""
    if type(value) is dict or type(value) is list:
        return orjson.loads(orjson.dumps(value))
    return value


def reader(kind: Type) -> Reader:
    """The compiled reader of a type: compiled on first use, then kept on the type."""
    found: Reader | None = kind.__dict__.get("compiled_reader")
    if found is None:
        found = _compile(kind)
        kind.__dict__["compiled_reader"] = found
    return found


def _compile(kind: Type) -> Reader:
    if kind.shape is Shape.STRUCT:
        return _struct(kind)
    if kind.shape is Shape.MAP:
        return _map(kind)
    if kind.shape is Shape.LIST:
        return _list(kind)
    if kind.shape is Shape.INTEGER:
        return _integer(kind.bits)
    return _LEAVES[kind.shape]


def zero(kind: Type) -> Any:
    """What stands for a null item or a field that is always written but was not given."""
    if kind.lenient:
        return None
    if kind.shape is Shape.STRUCT:
        return reader(kind)({})
    return _ZEROES.get(kind.shape)


def _struct(kind: Type) -> Reader:
    fields = kind.fields
    # Filled as fields are met: a kind compiles only what its objects use, and recursion ends.
    readers: dict[str, Reader] = {}
    texts = frozenset(name for name, field in fields.items() if field.type.shape is Shape.STRING)
    kept_empty = frozenset(name for name, field in fields.items() if _is_kept_empty(field))
    always = tuple(name for name, field in fields.items() if field.always)
    preserve, lenient = kind.preserve_unknown, kind.lenient

    def read(value: Any) -> Any:
        if type(value) is not dict:
            if lenient:
                return copy_json(value)
            raise Irregular
        out: dict[str, Any] = {}
        for name, item in value.items():
            if type(item) is str and name in texts:
                if item or name in kept_empty:
                    out[name] = item
                continue
            read_field = readers.get(name)
            if read_field is None:
                if name in fields:
                    read_field = readers[name] = reader(fields[name].type)
                elif preserve:
                    read_field = copy_json
                else:
                    raise Irregular
            if item is not None:
                item = read_field(item)
                if item or name in kept_empty or name not in fields:
                    out[name] = item
            elif lenient:
                out[name] = None
        for name in always:
            if name not in out:
                out[name] = _absent(fields[name])
        return out

    return read


def _is_kept_empty(field: Field) -> bool:
    """Whether an empty value is written if it was given."""
    if field.pointer:
        return True
    shape = field.type.shape
    if field.always:
        # The storage form knows no empty list beside the missing one, so both read as null.
        return shape not in (Shape.LIST, Shape.MAP, Shape.BYTES)
    return shape not in _EMPTY_IS_ABSENT and not field.omit_zero


def _absent(field: Field) -> Any:
    nothing = field.pointer or field.type.shape is Shape.BYTES
    return None if nothing else zero(field.type)


def _map(kind: Type) -> Reader:
    element = kind.element
    if element.shape is Shape.STRING:
        return _string_map
    read_value: Reader | None = None
    lenient = kind.lenient

    def read(value: Any) -> Any:
        nonlocal read_value
        if type(value) is not dict:
            if lenient:
                return copy_json(value)
            raise Irregular
        if read_value is None:
            read_value = reader(element)
        return {
            name: zero(element) if item is None else read_value(item)
            for name, item in value.items()
        }

    return read


def _string_map(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise Irregular
    for item in value.values():
        if type(item) is not str:
            return {name: "" if item is None else _string(item) for name, item in value.items()}
    return value.copy()


def _list(kind: Type) -> Reader:
    element = kind.element
    read_item: Reader | None = None
    lenient = kind.lenient

    def read(value: Any) -> Any:
        nonlocal read_item
        if type(value) is not list:
            if lenient:
                return copy_json(value)
            raise Irregular
        if read_item is None:
            read_item = reader(element)
        if None in value:
            return [zero(element) if item is None else read_item(item) for item in value]
        return [read_item(item) for item in value]

    return read


def _integer(bits: int) -> Reader:
    limit = 1 << (bits - 1)

    def read(value: Any) -> Any:
        if type(value) is int and -limit <= value < limit:
            return value
        raise Irregular

    return read


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise Irregular


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise Irregular


def _number(value: Any) -> int | float:
    if type(value) is int or type(value) is float:
        return value
    raise Irregular


def _bytes(value: Any) -> str:
    if value == []:
        # A list of no bytes is what Go takes it for.
        return ""
    if type(value) is not str:
        raise Irregular
    try:
        data = binascii.a2b_base64(value.translate(_NO_LINE_BREAKS), strict_mode=True)
    except (binascii.Error, ValueError):
        raise Irregular from None
    return binascii.b2a_base64(data, newline=False).decode()


def _quantity(value: Any) -> str:
    if type(value) is str or type(value) is int or type(value) is float:
        try:
            return canonical(value)
        except ValueError:
            pass
    raise Irregular


def _int_or_string(value: Any) -> int | str:
    if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
        return value
    raise Irregular


def _time(value: Any) -> str:
    if type(value) is not str:
        raise Irregular
    if _CANONICAL_TIME.fullmatch(value):
        return value
    try:
        return canonical_time(value)
    except ValueError:
        raise Irregular from None


def _micro_time(value: Any) -> str:
    if type(value) is not str:
        raise Irregular
    try:
        return canonical_micro_time(value)
    except ValueError:
        raise Irregular from None


_LEAVES: dict[Shape, Reader] = {
    Shape.STRING: _string,
    Shape.NUMBER: _number,
    Shape.BOOLEAN: _boolean,
    Shape.BYTES: _bytes,
    Shape.TIME: _time,
    Shape.MICRO_TIME: _micro_time,
    Shape.QUANTITY: _quantity,
    Shape.INT_OR_STRING: _int_or_string,
    Shape.ANY: copy_json,
}
_ZEROES: dict[Shape, Any] = {
    Shape.STRING: "",
    Shape.INTEGER: 0,
    Shape.NUMBER: 0,
    Shape.BOOLEAN: False,
    Shape.BYTES: "",
    Shape.QUANTITY: "0",
    Shape.INT_OR_STRING: 0,
}
_EMPTY_IS_ABSENT = {
    Shape.STRING,
    Shape.INTEGER,
    Shape.NUMBER,
    Shape.BOOLEAN,
    Shape.BYTES,
    Shape.LIST,
    Shape.MAP,
}
