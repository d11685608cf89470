"""Lists taken as sets (cel-go's sets extension)."""

from collections.abc import Sequence
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.values import contains


def _contains(held: list[Any], wanted: list[Any]) -> bool:
    return all(contains(item, held) for item in wanted)


def _equivalent(a: list[Any], b: list[Any]) -> bool:
    return _contains(a, b) and _contains(b, a)


def _intersects(a: list[Any], b: list[Any]) -> bool:
    return any(contains(item, b) for item in a)


def _product(args: Sequence[Any], result: Any) -> int:
    return 1 + len(args[0]) * len(args[1])


def _product_both_ways(args: Sequence[Any], result: Any) -> int:
    return 1 + 2 * len(args[0]) * len(args[1])


FUNCTIONS: Functions = {
    "sets.contains": [overload("(list(A), list(A)) -> bool", _contains, _product)],
    "sets.equivalent": [overload("(list(A), list(A)) -> bool", _equivalent, _product_both_ways)],
    "sets.intersects": [overload("(list(A), list(A)) -> bool", _intersects, _product)],
}
