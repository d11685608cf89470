"""kubectl's JSONPath: templates such as ``{.items[*].metadata.name}`` and ``{range}...{end}``.

Supports fields, ``['quoted']`` names, indexes, slices, ``[*]``, ``..`` and filters of the form
``[?(@.a=="b")]``. Missing fields give nothing.
"""

import re
from typing import Any

import click
import orjson

_STEP = re.compile(
    r"""\.\.(?P<deep>[\w-]+)|\.(?P<field>(?:\\.|[\w*-])+)|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?\(@(?P<path>[^=!<>]*)(?P<op>==|!=|>=|<=|>|<)?(?P<value>[^)]*)\)\]"""
    r"""|\[(?P<index>-?\d+|\*|-?\d*:-?\d*)\]"""
)
_PART = re.compile(r"\{([^{}]*)\}")


def values(path: str, document: Any) -> list[Any]:
    """What a path finds, in order."""
    found = [document]
    rest = path.strip().removeprefix("$").removeprefix("@")
    if rest and rest[0] not in ".[":
        rest = "." + rest
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            if rest[position:] == ".":
                break
            raise click.UsageError(f"jsonpath: cannot read {rest[position:]!r} in {path!r}")
        found = [value for one in found for value in _step(match, one)]
        position = match.end()
    return found


def _step(match: re.Match[str], value: Any) -> list[Any]:
    groups = match.groupdict()
    name = groups["field"] or groups["quoted"]
    if groups["deep"]:
        return _deep(groups["deep"], value)
    if name == "*" or groups["index"] == "*":
        return _children(value)
    if name:
        plain = name.replace("\\", "")
        if isinstance(value, dict) and plain in value:
            return [value[plain]]
        return []
    if groups["index"]:
        return _indexed(groups["index"], value)
    return [one for one in _children(value) if _holds(groups, one)]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _deep(name: str, value: Any) -> list[Any]:
    found = [value[name]] if isinstance(value, dict) and name in value else []
    for child in _children(value):
        found += _deep(name, child)
    return found


def _indexed(text: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        return []
    if ":" in text:
        start, _, end = text.partition(":")
        return value[int(start) if start else None : int(end) if end else None]
    index = int(text)
    return [value[index]] if -len(value) <= index < len(value) else []


def _holds(groups: dict[str, Any], value: Any) -> bool:
    found = values(groups["path"].strip(), value)
    if not groups["op"]:
        return bool(found)
    try:
        wanted = orjson.loads(groups["value"].strip().replace("'", '"'))
    except orjson.JSONDecodeError:
        wanted = groups["value"].strip()
    for one in found:
        if type(one) is not type(wanted) and not isinstance(one, int | float):
            continue
        if _compare(groups["op"], one, wanted):
            return True
    return False


def _compare(operator: str, left: Any, right: Any) -> bool:
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    try:
        if operator in (">", ">="):
            return bool(left > right) or (operator == ">=" and left == right)
        return bool(left < right) or (operator == "<=" and left == right)
    except TypeError:
        return False


def text(value: Any) -> str:
    """A found value as kubectl prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return orjson.dumps(value).decode()


def render(template: str, document: Any) -> str:
    """A whole template: text, paths in braces, ``{range PATH}...{end}``, quoted text."""
    if "{" not in template:
        template = "{" + template + "}"
    output, rest = _render(_PART.split(template), document)
    if rest:
        raise click.UsageError("jsonpath: {end} without {range}")
    return output


def _render(parts: list[str], document: Any) -> tuple[str, list[str]]:
    """Render up to an ``{end}``; parts alternate between text and the inside of braces."""
    output = ""
    while parts:
        output += parts.pop(0)
        if not parts:
            break
        inside = parts.pop(0).strip()
        if inside == "end":
            return output, parts or [""]
        if inside.startswith("range"):
            body = list(parts)
            rest: list[str] = []
            for one in values(inside.removeprefix("range"), document) or [None]:
                rendered, rest = _render(list(body), one)
                output += rendered if one is not None else ""
            parts = rest
        elif inside[:1] in "\"'":
            output += inside[1:-1].encode().decode("unicode_escape")
        else:
            output += " ".join(text(value) for value in values(inside, document))
    return output, []
