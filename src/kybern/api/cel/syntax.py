"""The tree of an expression: what ``parser.py`` makes, ``checker.py`` types, ``compiler.py`` runs.

Operators are calls with the names that the language gives them (``_+_``, ``!_``, ``_[_]``), and
macros are gone: they are :class:`Comprehension` nodes, as in the language definition.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ACCUMULATOR = "@result"


@dataclass(slots=True, eq=False)
class Node:
    """``offset`` is where the node stands in the source, in characters."""

    offset: int

    def children(self) -> Iterator["Node"]:
        return iter(())


@dataclass(slots=True, eq=False)
class Literal(Node):
    value: Any


@dataclass(slots=True, eq=False)
class Ident(Node):
    name: str


@dataclass(slots=True, eq=False)
class Select(Node):
    """``operand.field``; with ``test`` it is ``has(operand.field)``, with ``optional`` ``.?``."""

    operand: Node
    field: str
    test: bool = False
    optional: bool = False

    def children(self) -> Iterator[Node]:
        yield self.operand


@dataclass(slots=True, eq=False)
class Call(Node):
    """``function(*args)`` or ``target.function(*args)``."""

    function: str
    args: list[Node]
    target: Node | None = None

    def children(self) -> Iterator[Node]:
        if self.target is not None:
            yield self.target
        yield from self.args


@dataclass(slots=True, eq=False)
class ListOf(Node):
    """``optional`` holds the positions written with a question mark."""

    items: list[Node]
    optional: frozenset[int] = frozenset()

    def children(self) -> Iterator[Node]:
        return iter(self.items)


@dataclass(slots=True, eq=False)
class MapOf(Node):
    entries: list[tuple[Node, Node]]
    optional: frozenset[int] = frozenset()

    def children(self) -> Iterator[Node]:
        for key, value in self.entries:
            yield key
            yield value


@dataclass(slots=True, eq=False)
class Struct(Node):
    """``Name{field: value}``."""

    name: str
    fields: list[tuple[str, Node]] = field(default_factory=list)
    optional: frozenset[int] = frozenset()

    def children(self) -> Iterator[Node]:
        return (value for _, value in self.fields)


@dataclass(slots=True, eq=False)
class Comprehension(Node):
    """A fold over ``range``: while ``condition``, the accumulator becomes ``step``."""

    range: Node
    variable: str
    second: str
    accumulator: str
    initial: Node
    condition: Node
    step: Node
    result: Node

    def children(self) -> Iterator[Node]:
        yield from (self.range, self.initial, self.condition, self.step, self.result)
