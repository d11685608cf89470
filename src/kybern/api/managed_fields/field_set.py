"""Sets of fields, as ``fieldsV1`` writes them: who owns what is computed with these.

A set is a tree of path elements in their written form: ``f:name`` for a field, ``k:{...}`` for a
list item by its keys, ``v:...`` for an item of a set, ``i:0`` for an index. A path may be a member
while paths below it are members too. Sets are values: operations return new ones and share parts.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson

DEEPEST = 200


class FieldSet:
    """``members`` are the elements that are in the set; ``children`` the sets below an element."""

    __slots__ = ("_fields_v1", "children", "members")

    def __init__(
        self,
        members: Iterable[str] = (),
        children: "dict[str, FieldSet] | None" = None,
    ) -> None:
        self.members: dict[str, None] = dict.fromkeys(members)
        self.children: dict[str, FieldSet] = children if children is not None else {}
        self._fields_v1: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.members or self.children)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, FieldSet)
            and self.members.keys() == other.members.keys()
            and self.children == other.children
        )

    def __hash__(self) -> int:
        raise TypeError("a FieldSet may change while it is built")

    def __repr__(self) -> str:
        return f"FieldSet({orjson.dumps(self.to_json()).decode()})"

    def add(self, element: str) -> None:
        """Make the element itself a member."""
        self.members[element] = None

    def attach(self, element: str, below: "FieldSet") -> None:
        """Add the members below an element; an empty set leaves no trace."""
        if below:
            known = self.children.get(element)
            self.children[element] = known.union(below) if known else below

    def child(self, element: str) -> "FieldSet":
        """What is below an element; empty if nothing is."""
        return self.children.get(element, EMPTY)

    def union(self, other: "FieldSet") -> "FieldSet":
        """Members of either; this very set if the other adds nothing."""
        if not other:
            return self
        if not self:
            return other
        children = self.children
        for element, below in other.children.items():
            known = children.get(element)
            joined = known.union(below) if known is not None else below
            if joined is not known:
                if children is self.children:
                    children = dict(children)
                children[element] = joined
        if children is self.children and other.members.keys() <= self.members.keys():
            return self
        return FieldSet([*self.members, *other.members], children)

    def intersection(self, other: "FieldSet") -> "FieldSet":
        """Members of both."""
        out = FieldSet(e for e in self.members if e in other.members)
        for element, below in self.children.items():
            if element in other.children:
                out.attach(element, below.intersection(other.children[element]))
        return out

    def difference(self, other: "FieldSet") -> "FieldSet":
        """Members that are not members of ``other``; what is below those stays.

        This very set if it loses nothing.
        """
        if not other or not self:
            return self
        children = self.children
        for element, below in other.children.items():
            known = self.children.get(element)
            if known is not None:
                children = self._with_child(children, element, known, known.difference(below))
        return self._reduced(other, children)

    def without(self, other: "FieldSet") -> "FieldSet":
        """As difference, but whole subtrees under members of ``other`` go as well."""
        if not other or not self:
            return self
        children = self.children
        if not children.keys().isdisjoint(other.members):
            children = {e: below for e, below in children.items() if e not in other.members}
        for element, below in other.children.items():
            known = children.get(element)
            if known is not None:
                children = self._with_child(children, element, known, known.without(below))
        return self._reduced(other, children)

    def _with_child(
        self, children: "dict[str, FieldSet]", element: str, known: "FieldSet", left: "FieldSet"
    ) -> "dict[str, FieldSet]":
        """``children`` with what is left of one of them, copied before the first change."""
        if left is known:
            return children
        if children is self.children:
            children = dict(children)
        if left:
            children[element] = left
        else:
            del children[element]
        return children

    def _reduced(self, other: "FieldSet", children: "dict[str, FieldSet]") -> "FieldSet":
        """These members less those of ``other``, over what is left of the children."""
        if children is self.children and self.members.keys().isdisjoint(other.members):
            return self
        return FieldSet((e for e in self.members if e not in other.members), children)

    def paths(self, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        """Every member as its path of elements, in sorted order."""
        for element in sorted({*self.members, *self.children}):
            path = (*prefix, element)
            if element in self.members:
                yield path
            if element in self.children:
                yield from self.children[element].paths(path)

    def fields_v1(self) -> dict[str, Any]:
        """As :meth:`to_json`, kept and shared: for sets that are complete."""
        if self._fields_v1 is None:
            self._fields_v1 = self.to_json()
        return self._fields_v1

    def to_json(self) -> dict[str, Any]:
        """The ``fieldsV1`` object."""
        members, children = self.members, self.children
        if not children:
            return {element: {} for element in sorted(members)}
        out: dict[str, Any] = {}
        for element in sorted(members | children):
            below = children.get(element)
            if below is None:
                out[element] = {}
            elif element in members:
                out[element] = {".": {}, **below.to_json()}
            else:
                out[element] = below.to_json()
        return out

    @classmethod
    def from_json(cls, fields: Any, depth: int = 0) -> "FieldSet":
        """Read a ``fieldsV1`` object; raises ValueError."""
        if not isinstance(fields, dict) or depth > DEEPEST:
            raise ValueError("fieldsV1 is not an object of fields")
        out = cls()
        for element, below in fields.items():
            if element == ".":
                continue
            _require_element(element)
            if below is None or (type(below) is dict and not below):
                out.members[element] = None
                continue
            inner = cls.from_json(below, depth + 1)
            if not inner or "." in below:
                out.add(element)
            if inner:
                out.children[element] = inner
        return out


EMPTY = FieldSet()


def parsed(fields: Any) -> FieldSet:
    """As :meth:`FieldSet.from_json`, remembering what was read last: writes repeat each other."""
    try:
        return _parsed(orjson.dumps(fields))
    except TypeError:
        raise ValueError("fieldsV1 is not JSON") from None


@lru_cache(maxsize=256)
def _parsed(text: bytes) -> FieldSet:
    return FieldSet.from_json(orjson.loads(text))


@lru_cache(maxsize=4096)
def _require_element(element: str) -> None:
    if element[:2] not in ("f:", "k:", "v:", "i:"):
        raise ValueError(f"missing colon: unknown path element {element}")
    if element[:2] in ("k:", "v:"):
        orjson.loads(element[2:])


def field_set(paths: Iterable[tuple[str, ...]]) -> FieldSet:
    """The set of these field paths, each given as plain field names."""
    out = FieldSet()
    for path in paths:
        below = FieldSet([f"f:{path[-1]}"])
        for name in reversed(path[:-1]):
            below = FieldSet((), {f"f:{name}": below})
        out = out.union(below)
    return out


def printed_path(path: tuple[str, ...]) -> str:
    """A path as conflicts name it: ``.spec.ports[port=80,protocol="TCP"].name``."""
    return "".join(_printed_element(element) for element in path)


def _printed_element(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "i:":
        return f"[{text}]"
    value = orjson.loads(text)
    if kind == "v:":
        return f"[={orjson.dumps(value).decode()}]"
    keys = ",".join(f"{name}={orjson.dumps(key).decode()}" for name, key in value.items())
    return f"[{keys}]"
