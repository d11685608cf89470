"""The values of expressions and what holds for all of them: kind, equality, order, size.

Objects stay the plain dicts and lists that they are in the API; strings, bools, doubles, bytes and
null are Python's own. A CEL int is an ``int`` (kept within 64 bits by the arithmetic), an uint is
:class:`Uint`. Times count nanoseconds, so that nothing of their text is lost.
"""

from dataclasses import dataclass
from typing import Any

from kybern.api.cel.errors import EvaluationError

MAX_INT, MIN_INT, MAX_UINT = 2**63 - 1, -(2**63), 2**64 - 1


class Uint(int):
    """An unsigned 64-bit number; arithmetic on it is checked where it is done."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since 1970 in UTC."""

    nanoseconds: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span in nanoseconds."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value, such as ``int`` in ``type(x) == int``."""

    name: str


class OptionalValue:
    """A value that may be absent (``optional.of``, ``optional.none``)."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any = None, present: bool = True) -> None:
        self.value, self.present = value, present


NONE = OptionalValue(present=False)


class DefaultingMap(dict[Any, Any]):
    """A map in which a missing key finds an empty map, though ``in`` knows that it is missing."""

    def __missing__(self, key: Any) -> dict[Any, Any]:
        return {}


_KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    tuple: "list",
    dict: "map",
    DefaultingMap: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    OptionalValue: "optional_type",
}


def register(python: type, name: str) -> None:
    """A library's own kind of value, known by ``name`` in types and messages."""
    _KINDS[python] = name


def kind(value: Any) -> str:
    """The name of a value's type, as ``type()`` prints it."""
    return _KINDS.get(type(value), "dyn")


def equal(left: Any, right: Any) -> bool:
    """CEL's equality: numbers across their types, everything else only within one type."""
    if type(left) is type(right):
        if type(left) is list or type(left) is tuple:
            return len(left) == len(right) and all(map(equal, left, right))
        if type(left) is dict:
            return len(left) == len(right) and all(
                key in right and equal(value, right[key]) for key, value in left.items()
            )
        if type(left) is OptionalValue:
            if not (left.present and right.present):
                return left.present == right.present
            return equal(left.value, right.value)
        return bool(left == right)
    if is_number(left) and is_number(right):
        return bool(left == right)
    return False


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def size(value: Any) -> int:
    """Characters, bytes, items or entries; one for all that has no size (for costs)."""
    if isinstance(value, str | bytes | list | tuple | dict):
        return len(value)
    if isinstance(value, OptionalValue) and value.present:
        return size(value.value)
    return getattr(value, "cost_size", 1)


def contains(value: Any, items: list[Any]) -> bool:
    if type(value) is str:
        return value in items
    return any(equal(value, item) for item in items)


def lookup(mapping: dict[Any, Any], key: Any) -> tuple[bool, Any]:
    """Whether a map has the key, and its value; numbers find keys across their types."""
    if type(key) is str:
        return (True, mapping[key]) if key in mapping else (False, None)
    if kind(key) not in ("int", "uint", "double", "bool"):
        raise EvaluationError(f"unsupported key type: {kind(key)}")
    for held, value in mapping.items():
        if equal(held, key):
            return True, value
    return False, None


def in_range(value: int, unsigned: bool = False, what: str = "integer") -> int:
    """The number itself, if 64 bits hold it."""
    if unsigned:
        if not 0 <= value <= MAX_UINT:
            raise EvaluationError("unsigned integer overflow")
        return Uint(value)
    if not MIN_INT <= value <= MAX_INT:
        raise EvaluationError(f"{what} overflow")
    return value
