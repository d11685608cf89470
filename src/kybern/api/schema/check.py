"""Checking: exactly what is wrong with an object, in upstream's words, and a pruned copy.

The slow path behind ``normalise``: it runs only for objects that have unknown fields or wrong
types. Errors read as upstream's decoder prints them, which names Go types; unknown fields are
returned as paths for fieldValidation, and are left out of the copy.
"""

import base64
import binascii
from typing import Any

import orjson

from kybern.api.quantity import canonical
from kybern.api.schema.times import canonical_micro_time, canonical_time
from kybern.api.schema.types import Shape, Type

MOST_UNKNOWN_FIELDS = 100


class WrongType(Exception):
    """The object does not decode; the text is that of upstream's decoder.

    ``converted`` is what upstream says where it converts a tree instead of decoding a text.
    """

    def __init__(self, text: str, converted: str = "") -> None:
        super().__init__(text)
        self.converted = converted or text


class Checker:
    """One walk over one object, in the order of its fields; the first error ends it."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def check(self, kind: Type, value: Any) -> Any:
        """A copy of ``value`` without unknown fields; raises WrongType."""
        return self._walk(kind, value, "", "", kind.struct_name)

    def _walk(self, kind: Type, value: Any, path: str, fields: str, owner: str) -> Any:
        """``path`` has indexes (``spec.containers[0]``), ``fields`` has not, as Go prints them."""
        if value is None:
            return None
        if kind.shape is Shape.ANY:
            return value
        if kind.shape is Shape.STRUCT and isinstance(value, dict):
            return self._struct(kind, value, path, fields)
        if kind.shape is Shape.MAP and isinstance(value, dict):
            return {
                name: self._walk(kind.element, item, _joined(path, name), fields, owner)
                for name, item in value.items()
            }
        if kind.shape is Shape.LIST and isinstance(value, list):
            return [
                self._walk(kind.element, item, f"{path}[{index}]", fields, owner)
                for index, item in enumerate(value)
            ]
        problem = None if kind.lenient else _leaf_problem(kind, value)
        if problem is not None:
            described, go_type = problem
            where = f"Go struct field {owner}.{fields}" if fields else "Go value"
            text = f"json: cannot unmarshal {described} into {where} of type {go_type}"
            raise WrongType(text, _unconverted(kind, value))
        return value

    def _struct(self, kind: Type, value: dict[str, Any], path: str, fields: str) -> Any:
        out = {}
        for name, item in value.items():
            field = kind.fields.get(name)
            if field is None:
                if kind.preserve_unknown:
                    out[name] = item
                else:
                    self._note_unknown(_joined(path, name))
                continue
            inner = _joined(fields, f"{field.embedded}.{name}" if field.embedded else name)
            out[name] = self._walk(field.type, item, _joined(path, name), inner, kind.struct_name)
        return out

    def _note_unknown(self, path: str) -> None:
        if len(self.unknown) < MOST_UNKNOWN_FIELDS:
            self.unknown.append(path)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _leaf_problem(kind: Type, value: Any) -> tuple[str, str] | None:
    """What the value is and what it should be; raises WrongType for a value of wrong content."""
    shape = kind.shape
    try:
        if shape is Shape.STRING and isinstance(value, str):
            return None
        if shape is Shape.BOOLEAN and isinstance(value, bool):
            return None
        if shape is Shape.INTEGER:
            return None if _fits(value, kind.bits) else (_described(value, True), kind.go_name)
        if shape is Shape.NUMBER and _is_number(value):
            return None
        if shape is Shape.BYTES and isinstance(value, str):
            _check_base64(value)
            return None
        if shape is Shape.QUANTITY:
            canonical(
                value if isinstance(value, str | int | float) else orjson.dumps(value).decode()
            )
            return None
        if shape is Shape.INT_OR_STRING:
            fits = isinstance(value, str) or _fits(value, 32)
            return None if fits else (_described(value, True), "int32")
        if shape in (Shape.TIME, Shape.MICRO_TIME):
            if not isinstance(value, str):
                return _described(value), "string"
            (canonical_time if shape is Shape.TIME else canonical_micro_time)(value)
            return None
    except ValueError as problem:
        raise WrongType(str(problem)) from None
    return _described(value), kind.go_name


_GO_KINDS = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    list: "slice",
    dict: "map",
}
_RESTORED = {
    Shape.LIST: "slice from ",
    Shape.BYTES: "slice from ",
    Shape.MAP: "map from ",
    Shape.STRUCT: "struct from: ",
}


def _unconverted(kind: Type, value: Any) -> str:
    """Why a value of a tree does not become a field; empty where upstream decodes text after all.

    Go converts numbers to strings and among each other as far as its types go, and only then finds
    that the value does not fit.
    """
    found = _GO_KINDS[type(value)]
    if kind.shape in _RESTORED:
        return f"cannot restore {_RESTORED[kind.shape]}{found}"
    if kind.shape is Shape.STRING:
        convertible = found == "int64"
    elif kind.shape in (Shape.INTEGER, Shape.NUMBER):
        convertible = found in ("int64", "float64")
    elif kind.shape is Shape.BOOLEAN:
        convertible = False
    else:
        return ""
    if convertible:
        return f"cannot convert {found} to {kind.go_name}"
    basic = "string" if kind.shape is Shape.STRING else kind.go_name
    return f"unrecognized type: {basic}"


def _check_base64(value: str) -> None:
    text = value.replace("\r", "").replace("\n", "")
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WrongType(f"illegal base64 data at input byte {_first_bad_byte(text)}") from None


def _first_bad_byte(text: str) -> int:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for index, character in enumerate(text):
        if character in alphabet:
            continue
        padding = {2: "==", 3: "="}.get(index % 4, "") if character == "=" else ""
        return index + len(padding) if padding and text.startswith(padding, index) else index
    return len(text) // 4 * 4


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fits(value: Any, bits: int) -> bool:
    limit = 1 << (bits - 1)
    return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _described(value: Any, with_number: bool = False) -> str:
    """A JSON value in the words of upstream's decoder."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {orjson.dumps(value).decode()}" if with_number else "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"
