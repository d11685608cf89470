"""Cuts the text of an expression into tokens, for ``parser.py``.

Literals arrive with their values: escapes of strings and bytes are resolved here (the CEL language
definition, section "Lexis"). Numbers beyond 64 bits and broken escapes are issues, not tokens.
"""

import re
from dataclasses import dataclass
from typing import Any

from kybern.api.cel.errors import CompileError, Issue
from kybern.api.cel.values import MAX_INT, MAX_UINT, Uint

_TOKEN = re.compile(
    r"""
      (?P<space>[\t\n\f\r ]+|//[^\n]*)
    | (?P<double>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    | (?P<int>0x[0-9a-fA-F]+[uU]?|[0-9]+[uU]?)
    | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}))
    | (?P<line>(?:[rR][bB]?|[bB][rR]?)?(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'))
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_RAW = re.compile(
    r"""
      (?P<prefix>[rR][bB]?|[bB]?[rR])
      (?:\"{3}(?P<a>.*?)\"{3}|'{3}(?P<b>.*?)'{3}|"(?P<c>[^"\r\n]*)"|'(?P<d>[^'\r\n]*)')
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))",
    re.DOTALL,
)
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CONSTANTS = {"true": True, "false": False, "null": None}
_MAX_TOKENS = 100_000


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is "literal", "name", "end" or the sign itself; ``value`` a literal's value."""

    kind: str
    text: str
    offset: int
    value: Any = None


def tokenize(source: str) -> list[Token]:
    """All tokens with an "end" behind them; raises :class:`CompileError`."""
    tokens: list[Token] = []
    position = 0
    while position < len(source):
        match = _RAW.match(source, position) or _TOKEN.match(source, position)
        if match is None or len(tokens) > _MAX_TOKENS:
            raise _syntax(source, position, f"token recognition error at: '{source[position]}'")
        if match.lastgroup != "space":
            tokens.append(_token(source, match))
        position = match.end()
    return [*tokens, Token("end", "<EOF>", len(source))]


def _token(source: str, match: re.Match[str]) -> Token:
    text, offset, kind = match.group(), match.start(), match.lastgroup
    if match.re is _RAW:
        raw = next(group for group in match.group("a", "b", "c", "d") if group is not None)
        held = raw.encode() if "b" in match["prefix"].lower() else raw
        return Token("literal", text, offset, held)
    if kind == "name":
        if text in _CONSTANTS:
            return Token("literal", text, offset, _CONSTANTS[text])
        return Token("name", text, offset)
    if kind == "sign":
        return Token(text, text, offset)
    if kind == "double":
        return Token("literal", text, offset, float(text))
    if kind == "int":
        return Token("literal", text, offset, _integer(source, text, offset))
    return Token("literal", text, offset, _quoted(source, text, offset))


def _integer(source: str, text: str, offset: int) -> int:
    unsigned = text[-1] in "uU"
    value = int(text.rstrip("uU"), 16 if text.startswith("0x") else 10)
    # One more than the largest, as the sign in front of the smallest is a token of its own.
    if value > (MAX_UINT if unsigned else MAX_INT + 1):
        raise _syntax(source, offset, f"invalid {'uint' if unsigned else 'int'} literal")
    return Uint(value) if unsigned else value


def _quoted(source: str, text: str, offset: int) -> str | bytes:
    is_bytes = text[0] in "bB"
    body = text.lstrip("bB")
    body = body[3:-3] if body[:3] in ('"""', "'''") else body[1:-1]

    def resolve(match: re.Match[str]) -> str:
        named, two, four, eight, octal, _ = match.groups()
        if named:
            return _NAMED.get(named, named)
        code = int(two or four or eight, 16) if two or four or eight else int(octal or "-1", 8)
        surrogate = 0xD800 <= code <= 0xDFFF
        if code < 0 or code > 0x10FFFF or surrogate or (is_bytes and (four or eight)):
            raise _syntax(source, offset, f"token recognition error at: '{text[:20]}'")
        return chr(code)

    if not is_bytes:
        return _ESCAPE.sub(resolve, body)
    # In bytes an escape names one byte, while characters stand for their UTF-8 form.
    parts, last = [], 0
    for match in _ESCAPE.finditer(body):
        parts += [body[last : match.start()].encode(), resolve(match).encode("latin-1")]
        last = match.end()
    return b"".join([*parts, body[last:].encode()])


def _syntax(source: str, offset: int, text: str) -> CompileError:
    return CompileError(source, [Issue(offset, f"Syntax error: {text}")])
