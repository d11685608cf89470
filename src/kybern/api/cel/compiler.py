"""Makes closures of a checked tree: each node becomes a function from a frame to a value.

``environment.py`` calls :func:`compile_tree` and wraps the outcome in a ``Program``; the functions
themselves are made in ``closures.py``.
"""

from functools import singledispatchmethod
from typing import Any

from kybern.api.cel.checker import Checked
from kybern.api.cel.closures import (
    LIST_COST,
    MAP_COST,
    OBJECT_COST,
    SPECIAL,
    Code,
    Frame,
    direct_call,
    dispatched_call,
    fold,
    has_field,
    insert,
    optional_field,
    select_field,
    variable,
)
from kybern.api.cel.errors import EvaluationError
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
from kybern.api.cel.types import ObjectType, Type, is_exact
from kybern.api.cel.values import TypeValue


def compile_tree(checked: Checked) -> Code:
    return _Compiler(checked).code(checked.root)


class _Compiler:
    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.bound: list[str] = []

    @singledispatchmethod
    def code(self, node: Node) -> Code:
        raise AssertionError(f"a node of no known kind: {node!r}")

    @code.register
    def _(self, node: Literal) -> Code:
        value = node.value
        return lambda frame: value

    @code.register
    def _(self, node: Ident) -> Code:
        return self.named(self.checked.names[node], self.checked.types[node])

    def named(self, name: str, type_: Type) -> Code:
        if type_.name == "type" and name not in self.bound:
            value = TypeValue(name)
            return lambda frame: value
        if not name.startswith("@"):
            return variable(name)

        def accumulator(frame: Frame) -> Any:
            frame.cost += 1
            value = frame.variables[name]
            # A fold goes on past an error, which counts if nothing decides without it.
            if type(value) is EvaluationError:
                raise value
            return value

        return accumulator

    @code.register
    def _(self, node: Select) -> Code:
        if node in self.checked.names:
            return self.named(self.checked.names[node], self.checked.types[node])
        operand, of = self.code(node.operand), self.checked.types[node.operand]
        if of.name == "optional_type" or node.optional:
            return optional_field(operand, node.field, node.test)
        field = of.fields.get(node.field) if isinstance(of, ObjectType) else None
        key = field.key if field else node.field
        if node.test:
            return has_field(operand, key)
        return select_field(operand, key)

    @code.register
    def _(self, node: ListOf) -> Code:
        items, optional = [self.code(item) for item in node.items], node.optional

        def build(frame: Frame) -> list[Any]:
            frame.cost += LIST_COST
            return [item(frame) for item in items]

        def build_optional(frame: Frame) -> list[Any]:
            values = enumerate(build(frame))
            return [
                value.value if position in optional else value
                for position, value in values
                if position not in optional or value.present
            ]

        return build_optional if optional else build

    @code.register
    def _(self, node: MapOf) -> Code:
        entries = [(self.code(key), self.code(value)) for key, value in node.entries]
        optional = node.optional

        def build(frame: Frame) -> dict[Any, Any]:
            frame.cost += MAP_COST
            made: dict[Any, Any] = {}
            for position, (key_code, value_code) in enumerate(entries):
                key, value = key_code(frame), value_code(frame)
                if position in optional:
                    if not value.present:
                        continue
                    value = value.value
                insert(made, key, value)
            return made

        return build

    @code.register
    def _(self, node: Struct) -> Code:
        of = self.checked.types[node]
        assert isinstance(of, ObjectType)
        fields = [(of.fields[name].key, self.code(value)) for name, value in node.fields]
        optional = node.optional

        def build(frame: Frame) -> dict[str, Any]:
            frame.cost += OBJECT_COST
            made = {key: value(frame) for key, value in fields}
            for position in optional:
                key = fields[position][0]
                given = made.pop(key)
                if given.present:
                    made[key] = given.value
            return made

        return build

    @code.register
    def _(self, node: Call) -> Code:
        args = [self.code(arg) for arg in ([node.target] if node.target else []) + node.args]
        special = SPECIAL.get(node.function)
        if special is not None:
            return special(*args)
        overloads = self.checked.overloads[node]
        given = [self.checked.types[arg] for arg in node.children()]
        if len(overloads) == 1 and all(map(is_exact, overloads[0].args, given)):
            return direct_call(overloads[0], args)
        return dispatched_call(overloads, args)

    @code.register
    def _(self, node: Comprehension) -> Code:
        names = [name for name in (node.variable, node.second, node.accumulator) if name]
        ranged, initial = self.code(node.range), self.code(node.initial)
        self.bound += names
        codes = [self.code(part) for part in (node.condition, node.step, node.result)]
        del self.bound[-len(names) :]
        return fold(node, ranged, initial, *codes)
