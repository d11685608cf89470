"""What changed between two values, for messages about fields that may not change."""

import difflib
from typing import Any

import orjson


def difference(old: Any, new: Any) -> str:
    """A unified diff of the two as indented JSON."""
    before, after = (
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().split("\n")
        for value in (old, new)
    )
    lines = difflib.unified_diff(before, after, lineterm="", n=3)
    return "\n".join(list(lines)[2:]) + "\n"
