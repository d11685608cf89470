"""Reads an expression into its tree (recursive descent over the grammar of the CEL definition).

``environment.py`` calls :func:`parse`; macros are expanded by ``macros.py`` while calls are read.
Depth and number of nodes are bounded, so that a small text cannot exhaust the stack.
"""

from kybern.api.cel.errors import CompileError, Issue
from kybern.api.cel.macros import expand
from kybern.api.cel.syntax import Call, Ident, ListOf, Literal, MapOf, Node, Select, Struct
from kybern.api.cel.tokens import Token, tokenize
from kybern.api.cel.values import MAX_INT, is_number

MAX_DEPTH = 100
MAX_HEIGHT = 250
MAX_LENGTH = 100_000

_LOGICAL = ("||", "&&")
_PRECEDENCE = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("<", "<=", ">=", ">", "==", "!=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_RESERVED = frozenset(
    ["as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let"]
) | {"loop", "package", "namespace", "return", "var", "void", "while"}


def parse(source: str) -> Node:
    """The tree of ``source``; raises :class:`CompileError` with cel-go's report."""
    if len(source) > MAX_LENGTH:
        text = f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_LENGTH}"
        raise CompileError("", [Issue(0, text)])
    return _Parser(source).whole()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.position = 0
        self.depth = 0

    def whole(self) -> Node:
        node = self.expression()
        if self.next.kind != "end":
            raise self.unexpected()
        self.bound(node)
        return node

    def bound(self, root: Node) -> None:
        """Refuses trees so deep (long sums, chains of fields) that walking them is a danger."""
        pending = [(root, 1)]
        while pending:
            node, height = pending.pop()
            if height > MAX_HEIGHT:
                raise self.issue(0, f"expression recursion limit exceeded: {MAX_HEIGHT}")
            pending.extend((child, height + 1) for child in node.children())

    # The reading of tokens.

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.tokens[self.position]
        if token.kind == "end":
            raise self.unexpected()
        self.position += 1
        return token

    def took(self, kind: str) -> bool:
        if self.next.kind == kind:
            self.position += 1
            return True
        return False

    def expect(self, kind: str) -> Token:
        if self.next.kind != kind:
            raise self.unexpected(f"expecting '{kind}'")
        return self.take()

    def unexpected(self, expecting: str = "") -> CompileError:
        token = self.next
        text = f"mismatched input '{token.text}'" + (f" {expecting}" if expecting else "")
        return self.issue(token.offset, f"Syntax error: {text}")

    def issue(self, offset: int, text: str) -> CompileError:
        return CompileError(self.source, [Issue(offset, text)])

    # The grammar, from the loosest binding to the tightest.

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.issue(self.next.offset, f"expression recursion limit exceeded: {MAX_DEPTH}")
        node = self.binary()
        if self.next.kind == "?":
            offset = self.take().offset
            then = self.binary()
            self.expect(":")
            node = Call(offset, "_?_:_", [node, then, self.expression()])
        self.depth -= 1
        return node

    def binary(self, loosest: int = 1) -> Node:
        """Operators that bind at least as tightly as ``loosest``, by precedence climbing."""
        left = self.unary()
        while (binding := _PRECEDENCE.get(self.next.text, 0)) >= loosest:
            token = self.next
            if token.kind == "literal":
                break
            if token.kind in _LOGICAL:
                left = self.chain(left, token.kind, binding)
                continue
            self.take()
            name = "@in" if token.text == "in" else f"_{token.text}_"
            left = Call(token.offset, name, [left, self.binary(binding + 1)])
        return left

    def chain(self, first: Node, sign: str, binding: int) -> Node:
        terms, offsets = [first], []
        while self.next.kind == sign:
            offsets.append(self.take().offset)
            terms.append(self.binary(binding + 1))
        return _balanced(f"_{sign}_", terms, offsets)

    def unary(self) -> Node:
        if self.next.kind not in ("!", "-"):
            return self.member()
        token, count = self.take(), 1
        if token.kind == "-" and is_number(self.next.value):
            return self.members(self.literal(negative=token))
        while self.took(token.kind):
            count += 1
        node = self.member()
        return Call(token.offset, f"{token.kind}_", [node]) if count % 2 else node

    def member(self) -> Node:
        return self.members(self.primary())

    def members(self, node: Node) -> Node:
        while True:
            token = self.next
            if self.took("."):
                node = self.selected(node, token.offset)
            elif self.took("["):
                optional = self.took("?")
                index = self.expression()
                self.expect("]")
                node = Call(token.offset, "_[?_]" if optional else "_[_]", [node, index])
            elif self.took("{"):
                node = self.struct(node, token)
            else:
                return node

    def selected(self, operand: Node, offset: int) -> Node:
        optional = self.took("?")
        name = self.expect_name()
        if not optional and self.next.kind == "(":
            at = self.take().offset
            return self.call(at, name, self.arguments(), operand)
        return Select(offset, operand, name, optional=optional)

    def expect_name(self) -> str:
        if self.next.kind != "name":
            raise self.unexpected("expecting IDENTIFIER")
        return self.take().text

    def call(self, offset: int, name: str, args: list[Node], target: Node | None) -> Node:
        expanded = expand(self.source, offset, name, args, target)
        return Call(offset, name, args, target) if expanded is None else expanded

    def arguments(self, close: str = ")") -> list[Node]:
        args: list[Node] = []
        while not self.took(close):
            args.append(self.expression())
            if not self.took(","):
                self.expect(close)
                break
        return args

    def struct(self, named: Node, token: Token) -> Node:
        name = qualified_name(named)
        if name is None:
            raise self.issue(token.offset, "Syntax error: mismatched input '{'")
        node, optional = Struct(token.offset, name), set()
        while not self.took("}"):
            if self.took("?"):
                optional.add(len(node.fields))
            field = self.expect_name()
            self.expect(":")
            node.fields.append((field, self.expression()))
            if not self.took(","):
                self.expect("}")
                break
        node.optional = frozenset(optional)
        return node

    def primary(self) -> Node:
        token = self.next
        if token.kind == "literal":
            return self.literal()
        if token.kind == "name" or token.kind == ".":
            leading = self.took(".")
            name = self.expect_name()
            if name in _RESERVED:
                raise self.issue(token.offset, f"Syntax error: reserved identifier: {name}")
            name = f".{name}" if leading else name
            if self.next.kind == "(":
                at = self.take().offset
                return self.call(at, name, self.arguments(), None)
            return Ident(token.offset, name)
        if self.took("("):
            node = self.expression()
            self.expect(")")
            return node
        if self.took("["):
            return self.list_of(token)
        if self.took("{"):
            return self.map_of(token)
        raise self.unexpected()

    def literal(self, negative: Token | None = None) -> Literal:
        token = self.take()
        value = -token.value if negative else token.value
        if type(value) is int and value > MAX_INT:
            raise self.issue(token.offset, "Syntax error: invalid int literal")
        return Literal(negative.offset if negative else token.offset, value)

    def list_of(self, token: Token) -> ListOf:
        items: list[Node] = []
        optional: set[int] = set()
        while not self.took("]"):
            if self.took("?"):
                optional.add(len(items))
            items.append(self.expression())
            if not self.took(","):
                self.expect("]")
                break
        return ListOf(token.offset, items, frozenset(optional))

    def map_of(self, token: Token) -> MapOf:
        entries: list[tuple[Node, Node]] = []
        optional: set[int] = set()
        while not self.took("}"):
            if self.took("?"):
                optional.add(len(entries))
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression()))
            if not self.took(","):
                self.expect("}")
                break
        return MapOf(token.offset, entries, frozenset(optional))


def qualified_name(node: Node) -> str | None:
    """``a.b.c`` for a chain of plain selections, None for anything else."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test and not node.optional:
        operand = qualified_name(node.operand)
        return None if operand is None else f"{operand}.{node.field}"
    return None


def _balanced(name: str, terms: list[Node], offsets: list[int]) -> Node:
    """A tree of even depth over many terms, so that a thousand of them do not nest."""
    if len(terms) == 1:
        return terms[0]
    middle = len(offsets) // 2
    left = _balanced(name, terms[: middle + 1], offsets[:middle])
    right = _balanced(name, terms[middle + 1 :], offsets[middle + 1 :])
    return Call(offsets[middle], name, [left, right])
