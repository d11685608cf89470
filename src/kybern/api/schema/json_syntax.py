"""What is wrong with a JSON text, in the words of upstream's parser.

Only malformed bodies come here, after the fast parser has refused them; the answer goes into the
Status that a person reads, so it names the character and what was expected instead. Where the fast
parser stopped, this one begins: a body of megabytes must not hold the event loop.
"""

import re

_BLANK = re.compile(rb"[ \t\r\n]*")
_STRING_RUN = re.compile(
    rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+'
)
_ESCAPE = re.compile(rb'["\\/bfnrt]')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_DEEPEST = 10_000
_WHOLE_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_END = "unexpected end of JSON input"


class _Problem(Exception):
    pass


def syntax_problem(body: bytes, sound: int = 0) -> str | None:
    """The first syntax error, None if there is none. Iterative: depth costs no stack.

    The first ``sound`` bytes are known to begin a JSON text.
    """
    start, open_brackets = _last_landmark(body[:sound])
    try:
        _Scanner(body, start).scan(open_brackets)
    except _Problem as problem:
        return str(problem)
    return None


def _last_landmark(text: bytes) -> tuple[int, list[bytes]]:
    """The last comma or bracket of a text that begins well, and the brackets open before it."""
    bare = _WHOLE_STRING.sub(lambda string: b" " * len(string[0]), text).partition(b'"')[0]
    at = max(bare.rfind(mark) for mark in (b",", b"[", b"]", b"{", b"}"))
    open_brackets: list[bytes] = []
    for bracket in bare[: max(at, 0)].translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            open_brackets.append(bytes((bracket,)))
        else:
            open_brackets.pop()
    return max(at, 0), open_brackets


class _Scanner:
    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._at = start

    def scan(self, open_brackets: list[bytes]) -> None:
        """To the end, from the start of the text or from a comma or bracket in it."""
        if self._body[self._at : self._at + 1] not in (b",", b"]", b"}"):
            self._value_start(open_brackets)
        while open_brackets:
            self._after_value(open_brackets)
        self._skip_blanks()
        if self._at < len(self._body):
            raise self._invalid("after top-level value")

    def _after_value(self, open_brackets: list[bytes]) -> None:
        """One step behind a value: a comma and the next member, or the end of the container."""
        self._skip_blanks()
        character = self._character()
        in_object = open_brackets[-1] == b"{"
        if character == b",":
            self._at += 1
            if in_object:
                self._skip_blanks()
                self._key()
            self._value_start(open_brackets)
        elif character == (b"}" if in_object else b"]"):
            self._at += 1
            open_brackets.pop()
        else:
            raise self._invalid(
                "after object key:value pair" if in_object else "after array element"
            )

    def _value_start(self, open_brackets: list[bytes]) -> None:
        """A scalar whole, or a container up to the start of its first scalar member."""
        while True:
            self._skip_blanks()
            character = self._character()
            if len(open_brackets) >= _DEEPEST:
                raise _Problem("exceeded max depth")
            if character == b"{":
                self._at += 1
                self._skip_blanks()
                open_brackets.append(character)
                if self._character() == b"}":
                    self._at += 1
                    open_brackets.pop()
                    return
                self._key()
            elif character == b"[":
                self._at += 1
                self._skip_blanks()
                if self._character() == b"]":
                    self._at += 1
                    return
                open_brackets.append(character)
            else:
                self._scalar(character)
                return

    def _scalar(self, character: bytes) -> None:
        if character == b'"':
            self._string()
        elif character in _WORDS:
            self._word(_WORDS[character])
        elif character == b"-" or character.isdigit():
            self._number()
        else:
            raise self._invalid("looking for beginning of value")

    def _key(self) -> None:
        if self._character() != b'"':
            raise self._invalid("looking for beginning of object key string")
        self._string()
        self._skip_blanks()
        if self._character() != b":":
            raise self._invalid("after object key")
        self._at += 1

    def _string(self) -> None:
        self._at += 1
        while True:
            run = _STRING_RUN.match(self._body, self._at)
            self._at = run.end() if run else self._at
            character = self._character()
            if character == b'"':
                self._at += 1
                return
            if character != b"\\":
                raise self._invalid("in string literal")
            self._at += 1
            self._escape()

    def _escape(self) -> None:
        character = self._literal_character()
        self._at += 1
        if character == b"u":
            for _ in range(4):
                if self._literal_character() not in b"0123456789abcdefABCDEF":
                    raise self._invalid("in \\u hexadecimal character escape")
                self._at += 1
        elif not _ESCAPE.match(character):
            self._at -= 1
            raise self._invalid("in string escape code")

    def _word(self, word: bytes) -> None:
        for index, expected in enumerate(word.decode()):
            if self._literal_character() != expected.encode():
                raise self._invalid(f"in literal {word.decode()} (expecting '{expected}')")
            self._at += 1 if index < len(word) else 0

    def _number(self) -> None:
        number = _NUMBER.match(self._body, self._at)
        if number is None:
            self._at += 1
            raise self._invalid("in numeric literal")
        self._at = number.end()
        following = self._body[self._at : self._at + 1]
        if following == b".":
            self._at += 1
            raise self._invalid("after decimal point in numeric literal")
        if following in (b"e", b"E"):
            self._at += 1
            if self._literal_character() in b"+-":
                self._at += 1
            raise self._invalid("in exponent of numeric literal")

    def _skip_blanks(self) -> None:
        blanks = _BLANK.match(self._body, self._at)
        self._at = blanks.end() if blanks else self._at

    def _character(self) -> bytes:
        if self._at >= len(self._body):
            raise _Problem(_END)
        return self._body[self._at : self._at + 1]

    def _literal_character(self) -> bytes:
        """Inside a literal, upstream's parser takes the end of the text for a blank."""
        return self._body[self._at : self._at + 1] or b" "

    def _invalid(self, context: str) -> _Problem:
        return _Problem(f"invalid character {_quoted(self._literal_character()[0])} {context}")


def _quoted(byte: int) -> str:
    """A byte as Go quotes it: printable Latin-1 as it is, the rest escaped."""
    named = {0x27: "'\\''", 0x22: "'\"'", 0x5C: "'\\\\'"}
    escapes = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
    if byte in named:
        return named[byte]
    if byte in escapes:
        return f"'{escapes[byte]}'"
    character = chr(byte)
    if 0x20 <= byte < 0x7F or (byte >= 0xA1 and byte != 0xAD):
        return f"'{character}'"
    return f"'\\x{byte:02x}'" if byte < 0x80 else f"'\\u{byte:04x}'"
