"""Request bodies: JSON or YAML bytes to plain Python values, within bounds.

``TypeSchema.decode`` and the patch verbs read bodies here. Duplicate keys are reported (the last
one wins, as upstream has it); nesting is bounded, so that nothing later can run out of stack.
"""

import json
import re
from typing import Any

import orjson

from kybern.api import yaml
from kybern.api.schema.json_syntax import syntax_problem

DEEPEST = 128
"""Levels of nesting that a body may have. Upstream stops at 10,000; real objects at about 60."""

_WRITER_DEPTH = 254
_MOST_DUPLICATES = 100
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)",
    re.DOTALL,
)
_BLANKS = b" \t\r\n"

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


class Malformed(Exception):
    """The body is not JSON (or YAML); the text is that of upstream's parser."""


def read_body(body: bytes, media_type: str = "application/json") -> tuple[Any, list[str]]:
    """The body's value and the paths of its duplicate fields; raises Malformed."""
    if media_type.partition(";")[0].strip().lower() in YAML_TYPES:
        plain = _read_plain_json(body)
        if plain is not None:
            return plain, []
        try:
            value, duplicates = yaml.load_with_duplicates(body)
            if too_deep(value):
                raise Malformed("exceeded max depth")
            return value, duplicates
        except (yaml.YamlError, UnicodeDecodeError, ValueError) as problem:
            raise Malformed(f"yaml: {_yaml_problem(problem)}") from None
    return read_json(body)


def _yaml_problem(problem: Exception) -> str:
    """What is wrong with a YAML text, and where, as upstream's reader of the same library has it.

    It counts lines from zero, but for errors of the scanner from one, and names no line zero.
    """
    mark = getattr(problem, "context_mark", None)
    if mark is None or not mark.line:
        mark = getattr(problem, "problem_mark", None)
    text = getattr(problem, "problem", None) or str(problem)
    if mark is None or not mark.line:
        return str(text)
    line = mark.line + isinstance(problem, yaml.ScannerError)
    return f"line {line}: {text}"


def _read_plain_json(body: bytes) -> Any:
    """The value of a YAML text that is a JSON object; None for every other text.

    Most clients send JSON as YAML, and reading it as such takes a twentieth of the time.
    """
    if not body.lstrip(_BLANKS).startswith(b"{"):
        return None
    try:
        value, duplicates = read_json(body)
    except Malformed:
        return None
    return None if duplicates else value


def read_json(body: bytes) -> tuple[Any, list[str]]:
    """The value of a JSON text and the paths of its duplicate fields; raises Malformed."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _read_odd_json(body, error.pos)
    # Few bodies have so many brackets that they could nest too deep.
    written = orjson.dumps(value) if _brackets(body) <= DEEPEST else _written_nested(value)
    if written is None:
        raise Malformed("exceeded max depth")
    # A repeated key is in the text but not in the value, so the counts of keys differ. Blanks go
    # first, as they may stand between a key and its colon.
    if body.translate(None, _BLANKS).count(b'":') != written.translate(None, _BLANKS).count(b'":'):
        return value, _duplicates(body)
    return value, []


def _read_odd_json(body: bytes, stopped: int) -> tuple[Any, list[str]]:
    """What the fast parser refuses: malformed JSON, and bad UTF-8, which upstream replaces.

    ``stopped`` is the character at which it gave up, if the text is UTF-8.
    """
    text = body.decode("utf-8", "replace")
    repaired = text.encode()
    if repaired != body:
        return read_json(repaired)
    problem = syntax_problem(body, len(text[:stopped].encode()))
    if problem is not None:
        raise Malformed(problem)
    if _brackets(body) > DEEPEST:
        raise Malformed("exceeded max depth")
    # What is left are halves of characters that \u escapes write; upstream replaces them.
    whole = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
    if whole == body:
        raise Malformed("invalid string")
    return read_json(whole)


def _brackets(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def too_deep(value: Any) -> bool:
    """Whether a value nests deeper than any body may."""
    return _written_nested(value) is None


def _written_nested(value: Any) -> bytes | None:
    """The value's JSON; None if it nests deeper than the bound.

    The writer gives up at a fixed depth. Wrapped in enough lists, a value reaches it exactly when
    it is too deep itself, which costs next to nothing.
    """
    for _ in range(_WRITER_DEPTH - DEEPEST):
        value = [value]
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return None


class _Members(list[tuple[str, Any]]):
    """An object as it was written, with every member that a repeated key has."""


def _duplicates(body: bytes) -> list[str]:
    paths: dict[str, None] = {}
    _collect(json.loads(body, object_pairs_hook=_Members), "", paths)
    return list(paths)[:_MOST_DUPLICATES]


def _collect(value: Any, path: str, paths: dict[str, None]) -> None:
    if isinstance(value, _Members):
        seen: set[str] = set()
        for name, item in value:
            inner = f"{path}.{name}" if path else name
            if name in seen:
                paths[inner] = None
            seen.add(name)
            _collect(item, inner, paths)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _collect(item, f"{path}[{index}]", paths)
