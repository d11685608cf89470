"""Regular expressions, in RE2's syntax and with its promise: time grows with the text only."""

from functools import lru_cache
from typing import Any

import re2

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The pattern, ready; raises EvaluationError where it is none."""
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise EvaluationError(f"error parsing regexp: {reason}: `{pattern}`") from None


def _matches(text: str, pattern: str) -> bool:
    return compiled(pattern).search(text) is not None


def _find(text: str, pattern: str) -> str:
    match = compiled(pattern).search(text)
    return match.group() if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group() for match in compiled(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


STANDARD: Functions = {
    "matches": [
        overload("string.(string) -> bool", _matches, costs.regular_expression),
        overload("(string, string) -> bool", _matches, costs.regular_expression),
    ],
}

EXTENDED: Functions = {
    "find": [overload("string.(string) -> string", _find, costs.regular_expression)],
    "findAll": [
        overload("string.(string) -> list(string)", _find_all, costs.regular_expression),
        overload("string.(string, int) -> list(string)", _find_all, costs.regular_expression),
    ],
}
