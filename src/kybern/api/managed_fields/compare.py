"""What changed between two objects of a type, as sets of fields."""

from typing import Any, NamedTuple

from kybern.api.managed_fields.elements import (
    child_type,
    everything_in,
    is_list,
    is_map,
    is_scalar,
    item_element,
)
from kybern.api.managed_fields.field_set import FieldSet
from kybern.api.schema.types import Type

_ABSENT: Any = object()


class Comparison(NamedTuple):
    """Fields that are gone, that have another value, and that are new."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    @property
    def changed(self) -> FieldSet:
        """Modified or added."""
        return self.modified.union(self.added)

    def without(self, ignored: FieldSet) -> "Comparison":
        """The comparison, blind for the ignored fields and all below them."""
        return Comparison(*(fields.without(ignored) for fields in self))


def compare(kind: Type, old: Any, new: Any) -> Comparison:
    """Compare two whole objects. Equal parts are not walked.

    Raises NoElement for a list item without identity.
    """
    out = _empty()
    if old != new:
        _compare_inside(kind, old, new, out)
    return out


def _empty() -> Comparison:
    return Comparison(FieldSet(), FieldSet(), FieldSet())


def _compare_part(kind: Type, element: str, old: Any, new: Any, out: Comparison) -> None:
    """Compare one part, and note it under its element in the comparison of what holds it."""
    if old is _ABSENT:
        _note_all(out.added, kind, element, new)
        return
    if new is _ABSENT:
        _note_all(out.removed, kind, element, old)
        return
    if _same(old, new):
        return
    divided = (is_map(kind, old) and is_map(kind, new)) or (
        is_list(kind, old) and is_list(kind, new)
    )
    if not divided or not (old or new):
        out.modified.add(element)
        return
    inside = _empty()
    _compare_inside(kind, old, new, inside)
    for total, part in zip(out, inside, strict=True):
        total.attach(element, part)


def _note_all(fields: FieldSet, kind: Type, element: str, value: Any) -> None:
    """A part that came or went, with all that is below it."""
    fields.add(element)
    if value and not is_scalar(value):
        fields.attach(element, everything_in(kind, value))


def _same(old: Any, new: Any) -> bool:
    # Python takes true for 1, which JSON does not.
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _compare_inside(kind: Type, old: Any, new: Any, out: Comparison) -> None:
    if is_map(kind, old) and is_map(kind, new):
        old, new = old or {}, new or {}
        for name in [*old, *(name for name in new if name not in old)]:
            child = child_type(kind, name)
            _compare_part(child, f"f:{name}", old.get(name, _ABSENT), new.get(name, _ABSENT), out)
    elif is_list(kind, old) and is_list(kind, new):
        _compare_items(kind, _by_element(kind, old or ()), _by_element(kind, new or ()), out)


def _compare_items(
    kind: Type, old: dict[str, list[Any]], new: dict[str, list[Any]], out: Comparison
) -> None:
    """Items by identity. One that occurs more than once counts as one leaf."""
    for element in [*old, *(element for element in new if element not in old)]:
        before, after = old.get(element, []), new.get(element, [])
        if len(before) <= 1 and len(after) <= 1:
            _compare_part(
                kind.element,
                element,
                before[0] if before else _ABSENT,
                after[0] if after else _ABSENT,
                out,
            )
        elif len(before) > 1 and len(after) > 1:
            if before != after:
                out.modified.add(element)
        elif len(before) > 1:
            out.removed.add(element)
            if after:
                _compare_part(kind.element, element, _ABSENT, after[0], out)
        else:
            out.added.add(element)
            if before:
                _compare_part(kind.element, element, before[0], _ABSENT, out)


def _by_element(kind: Type, items: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(item_element(kind, item), []).append(item)
    return found
