"""The type graph: what a kind's fields are, how they merge, and how they look on the wire.

``builtin`` builds it from the OpenAPI definitions and ``structural`` from the schema of a custom
resource; checking, normalising, strategic merge and server-side apply walk it. Nodes fill in their
fields on first use, so a kind costs only what its objects touch, and recursive types end.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

Obj = dict[str, Any]


class Shape(Enum):
    """What JSON a type takes, and so which code reads it."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    TIME = "time"
    MICRO_TIME = "micro time"
    QUANTITY = "quantity"
    INT_OR_STRING = "int or string"
    STRUCT = "struct"
    MAP = "map"
    LIST = "list"
    ANY = "any"


class ListType(Enum):
    """How the items of a list are owned and merged (``x-kubernetes-list-type``)."""

    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


@dataclass(eq=False)
class Type:
    """One node of the graph. ``element`` is a list's item or a map's value.

    ``lenient`` types are those of custom resources: values of another JSON type and nulls pass
    unchanged, because validation reports them.
    """

    shape: Shape
    go_name: str = ""
    bits: int = 0
    make_fields: "Callable[[], dict[str, Field]] | None" = None
    make_element: "Callable[[], Type] | None" = None
    list_type: ListType = ListType.ATOMIC
    map_keys: tuple[str, ...] = ()
    atomic: bool = False
    preserve_unknown: bool = False
    lenient: bool = False

    @cached_property
    def fields(self) -> "dict[str, Field]":
        """The fields of a struct by JSON name; empty for everything else."""
        return self.make_fields() if self.make_fields else {}

    @cached_property
    def element(self) -> "Type":
        """The type of a list's items or a map's values."""
        return self.make_element() if self.make_element else ANYTHING

    @cached_property
    def granular_map(self) -> bool:
        """Whether managers own the fields of a struct or the entries of a map one by one."""
        return not self.atomic and self.shape in (Shape.STRUCT, Shape.MAP)

    @cached_property
    def granular_list(self) -> bool:
        """Whether managers own a list's items one by one."""
        return self.shape is Shape.LIST and self.list_type is not ListType.ATOMIC

    @property
    def struct_name(self) -> str:
        """The Go struct's name without its package, as error messages begin with it."""
        return self.go_name.rpartition(".")[2]


@dataclass(eq=False)
class Field:
    """A struct's field: its type, what the wire does with empty values, and how patches merge.

    ``always``: written even if empty. ``pointer``: an empty value differs from an absent one.
    ``omit_zero``: an object that is left out if nothing in it is set. ``embedded``: the struct that
    upstream embeds the field with, as error messages have it.
    """

    name: str
    type: Type
    always: bool = False
    pointer: bool = False
    omit_zero: bool = False
    patch_strategies: frozenset[str] = field(default_factory=frozenset)
    merge_key: str = ""
    default: Any = None
    embedded: str = ""


ANYTHING = Type(Shape.ANY, preserve_unknown=True)
