"""The types that the checker reasons with, and when one may stand for another.

A type is a name with parameters; object types also have fields. ``Parameter`` types (the A in
``list(A)``) appear in declarations only and are bound while a call is checked. Types are written
down in signatures as text, which :func:`read` understands: ``map(string, list(A))``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Type:
    name: str
    params: tuple["Type", ...] = ()

    def __str__(self) -> str:
        if not self.params:
            return _SHOWN.get(self.name, self.name)
        return f"{self.name}({', '.join(map(str, self.params))})"


@dataclass(frozen=True)
class Parameter(Type):
    """A type variable of a declaration."""


@dataclass(frozen=True)
class Field:
    """A field of an object type: ``key`` is its name in the object."""

    type: Type
    key: str


@dataclass(frozen=True)
class ObjectType(Type):
    """An object with known fields, such as a structural schema describes."""

    fields: Mapping[str, Field] = field(default_factory=dict, compare=False, hash=False)


DYN = Type("dyn")
BOOL, INT, UINT, DOUBLE = Type("bool"), Type("int"), Type("uint"), Type("double")
STRING, BYTES, NULL = Type("string"), Type("bytes"), Type("null_type")
TIMESTAMP, DURATION = Type("google.protobuf.Timestamp"), Type("google.protobuf.Duration")
# A value of any type that only says at run time what it is (google.protobuf.Any).
ANY = Type("any")

_SHOWN = {"null_type": "null"}
_SCALARS = frozenset(["bool", "int", "uint", "double", "string", "bytes", "null_type"])
_NAME = re.compile(r"[A-Za-z_][\w.]*|[(),]")
_ABBREVIATED = {
    "timestamp": TIMESTAMP,
    "duration": DURATION,
    "null": NULL,
    "optional": Type("optional_type"),
}


def list_of(item: Type) -> Type:
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    return Type("optional_type", (value,))


def type_of(value: Type) -> Type:
    return Type("type", (value,))


def is_dynamic(type_: Type) -> bool:
    return type_.name in ("dyn", "any")


def read(text: str) -> Type:
    """A type from its text; a single capital letter is a parameter."""
    tokens = _NAME.findall(text)
    return _read(tokens)


def _read(tokens: list[str]) -> Type:
    name = tokens.pop(0)
    if len(name) == 1 and name.isupper():
        return Parameter(name)
    params: list[Type] = []
    if tokens and tokens[0] == "(":
        while tokens.pop(0) in "(,":
            params.append(_read(tokens))
    base = _ABBREVIATED.get(name, Type(name))
    return Type(base.name, tuple(params)) if params else base


Bindings = dict[str, Type]


def assignable(wanted: Type, given: Type, bound: Bindings) -> bool:
    """Whether ``given`` may stand where ``wanted`` is declared; binds parameters in ``bound``."""
    if isinstance(wanted, Parameter):
        return _bind(wanted, given, bound)
    if isinstance(given, Parameter):
        return _bind(given, wanted, bound)
    if is_dynamic(wanted) or is_dynamic(given):
        return True
    if given.name == "null_type":
        return wanted.name not in _SCALARS - {"null_type"} and wanted.name not in ("list", "map")
    if wanted.name != given.name or len(wanted.params) != len(given.params):
        return wanted.name == given.name and not (wanted.params and given.params)
    return all(assignable(w, g, bound) for w, g in zip(wanted.params, given.params, strict=True))


def _bind(parameter: Parameter, given: Type, bound: Bindings) -> bool:
    held = bound.get(parameter.name)
    if held is None or held == given:
        bound[parameter.name] = given
        return True
    if not assignable(held, given, bound):
        return False
    # The more general of the two is what later arguments are held against.
    if is_dynamic(given):
        bound[parameter.name] = given
    return True


def is_exact(wanted: Type, given: Type) -> bool:
    """Whether a value of type ``given`` is certainly one that ``wanted`` takes."""
    return isinstance(wanted, Parameter) or is_dynamic(wanted) or wanted.name == given.name


def substitute(type_: Type, bound: Bindings) -> Type:
    """``type_`` with its parameters replaced; those that nothing was bound to become dyn."""
    if isinstance(type_, Parameter):
        return substitute(bound[type_.name], bound) if type_.name in bound else DYN
    if not type_.params or isinstance(type_, ObjectType):
        return type_
    return Type(type_.name, tuple(substitute(param, bound) for param in type_.params))


def joined(types: list[Type]) -> Type:
    """The type of a list of items: theirs if they agree, else dyn."""
    agree = types and all(other == types[0] for other in types[1:])
    return types[0] if agree else DYN
