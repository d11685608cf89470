"""The macros of the language: ``has``, the comprehensions, ``cel.bind`` and the optional ones.

``parser.py`` offers every call; what is no macro comes back as None. Each macro is written as the
fold that the language definition (and cel-go's extension documents) gives for it, which is also
what makes its cost the same as there.
"""

from collections.abc import Callable

from kybern.api.cel.errors import CompileError, Issue
from kybern.api.cel.syntax import (
    ACCUMULATOR,
    Call,
    Comprehension,
    Ident,
    ListOf,
    Literal,
    MapOf,
    Node,
    Select,
)


def expand(
    source: str, offset: int, name: str, args: list[Node], target: Node | None
) -> Node | None:
    """The tree that a macro call stands for; raises :class:`CompileError` where it is misused."""
    if target is None:
        return _has(source, offset, args) if name == "has" and len(args) == 1 else None
    if name == "bind" and isinstance(target, Ident) and target.name == "cel" and len(args) == 3:
        return _bind(_Macro(source, offset, target), args)
    macro = _MACROS.get((name, len(args)))
    return macro(_Macro(source, offset, target), args) if macro else None


class _Macro:
    """Where a macro stands, and the small trees that all of them are made of."""

    def __init__(self, source: str, offset: int, target: Node) -> None:
        self.source, self.offset, self.target = source, offset, target

    def variable(self, node: Node, text: str = "argument must be a simple name") -> str:
        if not isinstance(node, Ident) or node.name.startswith("."):
            raise CompileError(self.source, [Issue(node.offset, text)])
        if node.name in (ACCUMULATOR, "__result__"):
            text = "iteration variable overwrites accumulator variable"
            raise CompileError(self.source, [Issue(node.offset, text)])
        return node.name

    def pair(self, args: list[Node]) -> tuple[str, str]:
        first, second = self.variable(args[0]), self.variable(args[1])
        if first == second:
            text = f"duplicate variable name: {first}"
            raise CompileError(self.source, [Issue(args[1].offset, text)])
        return first, second

    def held(self) -> Ident:
        return Ident(self.offset, ACCUMULATOR)

    def value(self, value: object) -> Literal:
        return Literal(self.offset, value)

    def call(self, name: str, *args: Node) -> Call:
        return Call(self.offset, name, list(args))

    def fold(
        self,
        names: tuple[str, str],
        initial: Node,
        step: Node,
        condition: Node | None = None,
        result: Node | None = None,
    ) -> Comprehension:
        always = condition or self.value(True)
        end = result or self.held()
        first, second = names
        return Comprehension(
            self.offset, self.target, first, second, ACCUMULATOR, initial, always, step, end
        )

    def appended(self, item: Node, keep: Node | None) -> Node:
        step = self.call("_+_", self.held(), ListOf(self.offset, [item]))
        return step if keep is None else self.call("_?_:_", keep, step, self.held())

    def inserted(self, keep: Node | None, *entry: Node) -> Node:
        step = self.call("cel.@mapInsert", self.held(), *entry)
        return step if keep is None else self.call("_?_:_", keep, step, self.held())


def _has(source: str, offset: int, args: list[Node]) -> Node:
    selected = args[0]
    if not isinstance(selected, Select) or selected.test:
        raise CompileError(source, [Issue(selected.offset, "invalid argument to has() macro")])
    return Select(offset, selected.operand, selected.field, test=True)


def _bind(macro: _Macro, args: list[Node]) -> Node:
    name = macro.variable(args[0], "cel.bind() variable names must be simple identifiers")
    nothing = ListOf(macro.offset, [])
    unused = Ident(macro.offset, name)
    return Comprehension(
        macro.offset, nothing, "#unused", "", name, args[1], macro.value(False), unused, args[2]
    )


def _all(macro: _Macro, names: tuple[str, str], test: Node) -> Node:
    go_on = macro.call("@not_strictly_false", macro.held())
    return macro.fold(names, macro.value(True), macro.call("_&&_", macro.held(), test), go_on)


def _exists(macro: _Macro, names: tuple[str, str], test: Node) -> Node:
    go_on = macro.call("@not_strictly_false", macro.call("!_", macro.held()))
    return macro.fold(names, macro.value(False), macro.call("_||_", macro.held(), test), go_on)


def _exists_one(macro: _Macro, names: tuple[str, str], test: Node) -> Node:
    more = macro.call("_+_", macro.held(), macro.value(1))
    step = macro.call("_?_:_", test, more, macro.held())
    result = macro.call("_==_", macro.held(), macro.value(1))
    return macro.fold(names, macro.value(0), step, result=result)


def _map(macro: _Macro, args: list[Node]) -> Node:
    names = (macro.variable(args[0]), "")
    keep = args[1] if len(args) == 3 else None
    return macro.fold(names, ListOf(macro.offset, []), macro.appended(args[-1], keep))


def _filter(macro: _Macro, args: list[Node]) -> Node:
    names = (macro.variable(args[0]), "")
    step = macro.appended(args[0], args[1])
    return macro.fold(names, ListOf(macro.offset, []), step)


def _transform_list(macro: _Macro, args: list[Node]) -> Node:
    keep = args[2] if len(args) == 4 else None
    step = macro.appended(args[-1], keep)
    return macro.fold(macro.pair(args), ListOf(macro.offset, []), step)


def _transform_map(macro: _Macro, args: list[Node]) -> Node:
    keep = args[2] if len(args) == 4 else None
    names = macro.pair(args)
    step = macro.inserted(keep, Ident(macro.offset, names[0]), args[-1])
    return macro.fold(names, MapOf(macro.offset, []), step)


def _transform_map_entry(macro: _Macro, args: list[Node]) -> Node:
    keep = args[2] if len(args) == 4 else None
    return macro.fold(macro.pair(args), MapOf(macro.offset, []), macro.inserted(keep, args[-1]))


def _optional_map(macro: _Macro, args: list[Node], function: str) -> Node:
    """``x.optMap(v, f)``: f of the value where there is one; optFlatMap's f is optional itself."""
    bound = _bind(
        _Macro(macro.source, macro.offset, macro.target),
        [
            Ident(args[0].offset, macro.variable(args[0])),
            Call(macro.offset, "value", [], macro.target),
            args[1],
        ],
    )
    present = macro.call("optional.of", bound) if function == "optMap" else bound
    absent = macro.call("optional.none")
    test = Call(macro.offset, "hasValue", [], macro.target)
    return macro.call("_?_:_", test, present, absent)


def _quantifier(
    build: Callable[[_Macro, tuple[str, str], Node], Node], two: bool
) -> Callable[[_Macro, list[Node]], Node]:
    if two:
        return lambda macro, args: build(macro, macro.pair(args), args[2])
    return lambda macro, args: build(macro, (macro.variable(args[0]), ""), args[1])


_MACROS: dict[tuple[str, int], Callable[[_Macro, list[Node]], Node]] = {
    ("all", 2): _quantifier(_all, two=False),
    ("exists", 2): _quantifier(_exists, two=False),
    ("exists_one", 2): _quantifier(_exists_one, two=False),
    ("existsOne", 2): _quantifier(_exists_one, two=False),
    ("all", 3): _quantifier(_all, two=True),
    ("exists", 3): _quantifier(_exists, two=True),
    ("exists_one", 3): _quantifier(_exists_one, two=True),
    ("existsOne", 3): _quantifier(_exists_one, two=True),
    ("map", 2): _map,
    ("map", 3): _map,
    ("filter", 2): _filter,
    ("transformList", 3): _transform_list,
    ("transformList", 4): _transform_list,
    ("transformMap", 3): _transform_map,
    ("transformMap", 4): _transform_map,
    ("transformMapEntry", 3): _transform_map_entry,
    ("transformMapEntry", 4): _transform_map_entry,
    ("optMap", 2): lambda macro, args: _optional_map(macro, args, "optMap"),
    ("optFlatMap", 2): lambda macro, args: _optional_map(macro, args, "optFlatMap"),
}
