"""Gives every node of a tree its type, and every call the overloads that may serve it.

``environment.py`` calls :func:`check` after parsing; the compiler reads the two tables that come
out. All problems are reported together, in cel-go's words and in the order of the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod

from kybern.api.cel.declarations import Functions, Overload
from kybern.api.cel.errors import CompileError, Issue
from kybern.api.cel.parser import qualified_name
from kybern.api.cel.syntax import (
    Call,
    Comprehension,
    Ident,
    ListOf,
    Literal,
    MapOf,
    Node,
    Select,
    Struct,
)
from kybern.api.cel.types import (
    BOOL,
    DURATION,
    DYN,
    INT,
    TIMESTAMP,
    Bindings,
    ObjectType,
    Parameter,
    Type,
    assignable,
    is_dynamic,
    joined,
    list_of,
    map_of,
    optional_of,
    substitute,
    type_of,
)
from kybern.api.cel.values import kind

_SCALAR_NAMES = ("bool", "int", "uint", "double", "string", "bytes", "null_type")
_TYPE_NAMES = frozenset(
    (*_SCALAR_NAMES, "list", "map", "type", "dyn", "optional_type", TIMESTAMP.name, DURATION.name)
)


@dataclass(slots=True)
class Checked:
    """``type`` of the whole; ``types`` and ``overloads`` by node; ``names`` of dotted idents."""

    root: Node
    type: Type
    types: dict[Node, Type] = field(default_factory=dict)
    overloads: dict[Node, list[Overload]] = field(default_factory=dict)
    names: dict[Node, str] = field(default_factory=dict)


def check(source: str, root: Node, variables: Mapping[str, Type], functions: Functions) -> Checked:
    """The types of the tree; raises :class:`CompileError` with everything that is wrong."""
    checker = _Checker(variables, functions)
    checker.checked = Checked(root, DYN)
    checker.checked.type = checker.visit(root)
    if checker.issues:
        raise CompileError(source, sorted(checker.issues, key=lambda issue: issue.offset))
    return checker.checked


class _Checker:
    checked: Checked

    def __init__(self, variables: Mapping[str, Type], functions: Functions) -> None:
        self.scopes: list[Mapping[str, Type]] = [variables]
        self.functions = functions
        self.issues: list[Issue] = []
        # Within the arguments of ``format`` a list may mix types.
        self.formatting = 0

    def visit(self, node: Node) -> Type:
        type_ = self.infer(node)
        self.checked.types[node] = type_
        return type_

    def report(self, node: Node, text: str) -> Type:
        self.issues.append(Issue(node.offset, text))
        return DYN

    def find(self, name: str) -> Type | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return type_of(Type(name)) if name in _TYPE_NAMES else None

    @singledispatchmethod
    def infer(self, node: Node) -> Type:
        raise AssertionError(f"a node of no known kind: {node!r}")

    @infer.register
    def _(self, node: Literal) -> Type:
        return Type(kind(node.value))

    @infer.register
    def _(self, node: Ident) -> Type:
        found = self.find(node.name.removeprefix("."))
        if found is None:
            return self.report(node, f"undeclared reference to '{node.name}' (in container '')")
        self.checked.names[node] = node.name.removeprefix(".")
        return found

    @infer.register
    def _(self, node: Select) -> Type:
        dotted = qualified_name(node)
        if dotted and not node.test and self.is_qualified(node, dotted):
            self.checked.names[node] = dotted
            found = self.find(dotted)
            assert found is not None
            return found
        operand = self.visit(node.operand)
        is_optional = operand.name == "optional_type"
        if is_optional:
            operand = operand.params[0] if operand.params else DYN
        result = self.selected(node, operand)
        if node.test:
            return BOOL
        return optional_of(result) if is_optional or node.optional else result

    def is_qualified(self, node: Select, dotted: str) -> bool:
        """A dotted name counts as one where its first part is no variable of its own."""
        return self.find(dotted) is not None and self.find(dotted.split(".")[0]) is None

    def selected(self, node: Select, operand: Type) -> Type:
        if isinstance(operand, ObjectType):
            held = operand.fields.get(node.field)
            return held.type if held else self.report(node, f"undefined field '{node.field}'")
        if operand.name == "map":
            return operand.params[1] if operand.params else DYN
        if is_dynamic(operand) or isinstance(operand, Parameter):
            return DYN
        return self.report(node, f"type '{operand}' does not support field selection")

    @infer.register
    def _(self, node: ListOf) -> Type:
        items = []
        for position, item in enumerate(node.items):
            type_ = self.visit(item)
            if position in node.optional and type_.name == "optional_type":
                type_ = type_.params[0] if type_.params else DYN
            items.append(type_)
            self.same(node.items[position], items[0], type_)
        return list_of(joined(items))

    def same(self, node: Node, first: Type, other: Type) -> None:
        """All items of a literal have one type, as far as types are known."""
        agree = assignable(first, other, {}) or assignable(other, first, {})
        if not agree and not self.formatting:
            self.report(node, f"expected type '{first}' but found '{other}'")

    @infer.register
    def _(self, node: MapOf) -> Type:
        keys, values = [], []
        for position, (key, value) in enumerate(node.entries):
            keys.append(self.visit(key))
            type_ = self.visit(value)
            if position in node.optional and type_.name == "optional_type":
                type_ = type_.params[0] if type_.params else DYN
            values.append(type_)
            self.same(key, keys[0], keys[-1])
            self.same(value, values[0], type_)
        return map_of(joined(keys), joined(values))

    @infer.register
    def _(self, node: Struct) -> Type:
        declared = self.find(node.name)
        held = declared.params[0] if declared and declared.name == "type" else None
        if not isinstance(held, ObjectType):
            for _, value in node.fields:
                self.visit(value)
            return self.report(node, f"undeclared reference to '{node.name}' (in container '')")
        for position, (name, value) in enumerate(node.fields):
            type_ = self.visit(value)
            wanted = held.fields.get(name)
            if wanted is None:
                self.report(value, f"undefined field '{name}'")
                continue
            expected = optional_of(wanted.type) if position in node.optional else wanted.type
            if not assignable(expected, type_, {}):
                self.report(
                    value,
                    f"expected type of field '{name}' is '{expected}' "
                    f"but provided type is '{type_}'",
                )
        return held

    @infer.register
    def _(self, node: Call) -> Type:
        args = list(node.args)
        name, method = node.function, False
        if node.target is not None:
            dotted = qualified_name(node.target)
            qualified = f"{dotted}.{name}" if dotted else ""
            if qualified in self.functions and self.find(qualified.split(".")[0]) is None:
                name, node.function, node.target = qualified, qualified, None
            else:
                args, method = [node.target, *args], True
        self.formatting += name == "format"
        types = [self.visit(arg) for arg in args]
        self.formatting -= name == "format"
        if name == "_[?_]":
            return self.optional_index(types[0])
        return self.resolved(node, name.removeprefix("."), types, method)

    def optional_index(self, of: Type) -> Type:
        held = of.params[0] if of.name == "optional_type" and of.params else of
        return optional_of(held.params[-1] if held.params else DYN)

    def resolved(self, node: Call, name: str, types: list[Type], method: bool) -> Type:
        declared = self.functions.get(name)
        if declared is None:
            return self.report(node, f"undeclared reference to '{name}' (in container '')")
        found: list[Overload] = []
        results: list[Type] = []
        for candidate in declared:
            bound: Bindings = {}
            if candidate.method != method or len(candidate.args) != len(types):
                continue
            if all(assignable(w, g, bound) for w, g in zip(candidate.args, types, strict=True)):
                found.append(candidate)
                results.append(substitute(candidate.result, bound))
        if not found:
            shown = ", ".join(map(str, types[1:] if method else types))
            applied = f"{types[0]}.({shown})" if method else f"({shown})"
            return self.report(
                node, f"found no matching overload for '{name}' applied to '{applied}'"
            )
        self.checked.overloads[node] = found
        return joined(results)

    @infer.register
    def _(self, node: Comprehension) -> Type:
        over = self.visit(node.range)
        first, second = self.ranged(node, over)
        initial = self.visit(node.initial)
        scope: dict[str, Type] = {node.accumulator: initial}
        self.scopes.append(scope)
        scope[node.variable] = first
        if node.second:
            scope[node.second] = second
        self.expect_bool(node.condition)
        step = self.visit(node.step)
        # What began as an empty list or map has the type of what was added to it.
        empty = not any(True for _ in node.initial.children())
        if empty and isinstance(node.initial, ListOf | MapOf) and step.name == initial.name:
            scope[node.accumulator] = step
        del scope[node.variable]
        scope.pop(node.second, None)
        result = self.visit(node.result)
        self.scopes.pop()
        return substitute(result, {})

    def ranged(self, node: Comprehension, over: Type) -> tuple[Type, Type]:
        """The types of one or two iteration variables over a list, a map or who knows."""
        over = over.params[0] if over.name == "optional_type" and over.params else over
        if over.name == "list":
            item = substitute(over.params[0], {}) if over.params else DYN
            return (INT, item) if node.second else (item, DYN)
        if over.name == "map":
            key, value = (substitute(p, {}) for p in over.params) if over.params else (DYN, DYN)
            return key, value
        if not is_dynamic(over):
            self.report(
                node.range,
                f"expression of type '{over}' cannot be range of a comprehension "
                "(must be list, map, or dynamic)",
            )
        return DYN, DYN

    def expect_bool(self, node: Node) -> None:
        type_ = self.visit(node)
        if not assignable(BOOL, type_, {}):
            self.report(node, f"expected type 'bool' but found '{type_}'")
