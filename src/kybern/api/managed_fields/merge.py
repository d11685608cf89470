"""Merging an applied configuration into the live object, and taking fields out of an object."""

from typing import Any

from kybern.api.managed_fields.elements import (
    NoElement,
    child_type,
    elements,
    is_declared,
    is_list,
    is_map,
    is_scalar,
    item_element,
)
from kybern.api.managed_fields.field_set import EMPTY, FieldSet
from kybern.api.schema.types import Shape, Type


def merge(kind: Type, live: Any, applied: Any) -> Any:
    """``live`` with all that ``applied`` says; neither is changed, parts are shared."""
    if not (live or applied):
        return applied
    if is_map(kind, live) and is_map(kind, applied):
        out = dict(live or {})
        for name, value in (applied or {}).items():
            if name in out and not is_scalar(value):
                value = merge(child_type(kind, name), out[name], value)
            out[name] = value
        return out
    if is_list(kind, live) and is_list(kind, applied):
        return _merge_lists(kind, live or [], applied or [])
    return applied


def _merge_lists(kind: Type, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied items in their order, live-only items kept in their places between them."""
    left = _with_elements(kind, live)
    right = dict(elements(kind, applied))
    known: dict[str, Any] = {}
    for element, item in left:
        # Of items that share an identity none can be merged with: the applied one replaces them.
        known[element] = None if element in known else item
    shared = [element for element in right if element in known]
    out: list[Any] = []
    waiting = iter(right.items())
    pending = next(waiting, None)
    for element, item in left:
        if element not in right:
            out.append(item)
            continue
        if shared and element != shared[0]:
            continue
        # Everything up to this shared item comes before it in the applied order.
        while pending is not None:
            done = pending[0] == element
            out.append(_merged_item(kind, known.get(pending[0]), pending[1]))
            pending = next(waiting, None)
            if done:
                break
        shared = shared[1:]
    while pending is not None:
        out.append(_merged_item(kind, known.get(pending[0]), pending[1]))
        pending = next(waiting, None)
    return out


def _merged_item(kind: Type, live: Any, applied: Any) -> Any:
    return applied if live is None else merge(kind.element, live, applied)


def _with_elements(kind: Type, items: list[Any]) -> list[tuple[str, Any]]:
    found = []
    for item in items:
        try:
            found.append((item_element(kind, item), item))
        except NoElement:
            continue
    return found


def remove(kind: Type, value: Any, fields: FieldSet) -> Any:
    """``value`` without the members of ``fields``; what they leave empty stays, empty."""
    if not fields:
        return value
    if is_map(kind, value) and isinstance(value, dict):
        out = {}
        for name, item in value.items():
            element = f"f:{name}"
            if element not in fields.members:
                below = fields.child(element)
                out[name] = remove(child_type(kind, name), item, below)
        return out
    if is_list(kind, value) and isinstance(value, list):
        kept = []
        for item in value:
            try:
                element = item_element(kind, item)
            except NoElement:
                kept.append(item)
                continue
            if element not in fields.members:
                kept.append(remove(kind.element, item, fields.child(element)))
        return kept
    return value


def with_structs(kind: Type, fields: FieldSet) -> FieldSet:
    """``fields``, with each struct field that has members below made a member itself.

    Removing works on members: a struct whose fields all go has to go as well.
    """
    if not fields:
        return EMPTY
    out = FieldSet(fields.members)
    for element, below in fields.children.items():
        if element.startswith("f:"):
            name = element[2:]
            if is_declared(kind, name):
                out.add(element)
            child = child_type(kind, name)
        else:
            child = kind.element if kind.shape is Shape.LIST else kind
        out.attach(element, with_structs(child, below))
    return out
