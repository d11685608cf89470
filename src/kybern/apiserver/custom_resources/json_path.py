"""The JSONPath of printer columns: ``.spec.ports[0].name``, ``.status.conditions[?(@.type=="X")]``.

A path is read once, when its definition is served, and then only followed. Paths that cannot be
read show nothing.
"""

import re
from collections.abc import Callable
from typing import Any

_Step = Callable[[list[Any]], list[Any]]

_TOKEN = re.compile(
    r"""\.(?P<name>[^.\[\]'"()?@=]+)          # .name
      | \[(?P<index>-?\d+)\]                   # [0]
      | \[\*\]                                 # [*]
      | \.\*                                   # .*
      | \[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]   # ['some.name']
      | \[\?\(@(?P<left>[^=!<>]+?)\s*==\s*(?P<right>'[^']*'|"[^"]*"|[^)]+)\)\]   # [?(@.a=="b")]
    """,
    re.VERBOSE,
)


def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function that finds the values at a path."""
    steps = _steps(text)

    def follow(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = step(found)
        return found

    return follow


def _steps(text: str) -> list[_Step]:
    path = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if path and path[0] not in ".[":
        path = f".{path}"
    path = path.replace("\\.", "\0")
    steps: list[_Step] = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if match is None:
            return [lambda found: []]
        steps.append(_step(match))
        position = match.end()
    return steps


def _step(match: re.Match[str]) -> _Step:
    name = match["name"] if match["name"] is not None else match["key"]
    if name is not None:
        key = name.replace("\0", ".")
        return lambda found: [v[key] for v in found if isinstance(v, dict) and key in v]
    if match["index"] is not None:
        index = int(match["index"])
        return lambda found: [v[index] for v in found if _has(v, index)]
    if match["left"] is not None:
        return _filter(match["left"], match["right"])
    return _children


def _has(value: Any, index: int) -> bool:
    return isinstance(value, list) and -len(value) <= index < len(value)


def _children(found: list[Any]) -> list[Any]:
    values: list[Any] = []
    for value in found:
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
    return values


def _filter(left: str, right: str) -> _Step:
    read = compile_path(left)
    wanted = right.strip()
    text = wanted[1:-1] if wanted[:1] in ("'", '"') else None

    def matches(item: Any) -> bool:
        return any(_shown(v) == wanted if text is None else v == text for v in read(item))

    return lambda found: [item for item in _children(found) if matches(item)]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
