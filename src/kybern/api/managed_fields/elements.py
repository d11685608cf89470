"""Path elements of an object's parts, and the set of all fields that a value has.

The one place that decides how a type's value is divided into fields that different managers can
own: structs and granular maps by name, lists by their keys or values, the rest as one leaf.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from kybern.api.managed_fields.field_set import FieldSet
from kybern.api.schema.normalise import zero
from kybern.api.schema.types import ANYTHING, ListType, Shape, Type


class NoElement(ValueError):
    """A list item has no identity: it lacks all keys, or is of the wrong type."""


def is_map(kind: Type, value: Any) -> bool:
    """Whether the value's fields are owned one by one. A null stands for an empty map."""
    if type(value) is dict:
        return kind.granular_map or (kind.shape is Shape.ANY and not kind.atomic)
    return value is None and kind.granular_map


def is_list(kind: Type, value: Any) -> bool:
    """Whether the value's items are owned one by one. A null stands for an empty list."""
    return kind.granular_list and (value is None or type(value) is list)


def is_scalar(value: Any) -> bool:
    """Whether a value has no parts, whatever its type; a null may stand for a container."""
    return value is not None and type(value) is not dict and type(value) is not list


def child_type(kind: Type, name: str) -> Type:
    """The type of a struct's field or a map's value."""
    if kind.shape is Shape.STRUCT:
        field = kind.fields.get(name)
        return field.type if field is not None else ANYTHING
    return kind.element if kind.shape is Shape.MAP else ANYTHING


def is_declared(kind: Type, name: str) -> bool:
    """Whether a name is a field of a struct, as against a map's key."""
    return kind.shape is Shape.STRUCT and name in kind.fields


def item_element(kind: Type, item: Any) -> str:
    """The path element of a list item: by its keys, or the item itself; raises NoElement."""
    if kind.list_type is ListType.SET:
        if item is None or isinstance(item, dict | list):
            raise NoElement("associative list without keys has an element that's not a scalar")
        return f"v:{orjson.dumps(item).decode()}"
    if not isinstance(item, dict):
        raise NoElement("associative list with keys may not have non-map elements")
    keys = {}
    for name in kind.map_keys:
        if name in item:
            keys[name] = item[name]
        else:
            default = _key_default(kind, name)
            if default is not None:
                keys[name] = default
    if not keys:
        quoted = " ".join(f'"{name}"' for name in kind.map_keys)
        raise NoElement(
            f"associative list with keys has an element that omits all key fields [{quoted}] "
            "(and doesn't have default values for any key fields)"
        )
    return f"k:{orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()}"


def _key_default(kind: Type, name: str) -> Any:
    field = kind.element.fields.get(name)
    if field is None:
        return None
    if field.default is not None:
        return field.default
    return zero(field.type) if field.always and not field.pointer else None


def elements(kind: Type, items: Iterable[Any]) -> list[tuple[str, Any]]:
    """Each item with its element. Items without one, which only live objects have, are left out:
    nobody can own them."""
    found = []
    for item in items:
        try:
            found.append((item_element(kind, item), item))
        except NoElement:
            continue
    return found


def fields_of(kind: Type, value: Any) -> FieldSet:
    """The fields that a manager owns by applying this value.

    Structs are not owned themselves, only what is in them; map entries and list items are.
    """
    out = FieldSet()
    if is_map(kind, value):
        for name, item in (value or {}).items():
            element = f"f:{name}"
            if is_scalar(item):
                out.add(element)
                continue
            child = child_type(kind, name)
            below = fields_of(child, item)
            if item is None or item == {} or not is_declared(kind, name) or is_leaf(child, item):
                out.add(element)
            out.attach(element, below)
    elif is_list(kind, value):
        for element, item in elements(kind, value or ()):
            out.add(element)
            out.attach(element, fields_of(kind.element, item))
    return out


def is_leaf(kind: Type, value: Any) -> bool:
    """Whether a value is owned as a whole."""
    return not is_map(kind, value) and not is_list(kind, value)


def everything_in(kind: Type, value: Any) -> FieldSet:
    """Every path below a value, containers included: what adding or removing it touches.

    Raises NoElement for a list item without identity.
    """
    out = FieldSet()
    if not value:
        return out
    if is_map(kind, value):
        for name, item in value.items():
            element = f"f:{name}"
            out.members[element] = None
            if item and (type(item) is dict or type(item) is list):
                below = everything_in(child_type(kind, name), item)
                if below.members:
                    out.children[element] = below
    elif is_list(kind, value):
        for item in value:
            element = item_element(kind, item)
            if element in out.members:
                # Items with one key cannot be told apart, so they are owned as a whole.
                out.children.pop(element, None)
                continue
            out.members[element] = None
            if item and type(item) is dict:
                out.attach(element, everything_in(kind.element, item))
    return out
