"""Lists: Kubernetes' own functions (isSorted, sum, min, ...) and cel-go's lists extension."""

import operator
from collections.abc import Callable
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from kybern.api.cel.closures import insert
from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.functions.arithmetic import duration
from kybern.api.cel.values import (
    NONE,
    Duration,
    OptionalValue,
    Uint,
    equal,
    in_range,
    is_number,
    kind,
)

_ORDERED = ("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration")
_MAX_RANGE = 1_000_000


def _in_order(a: Any, b: Any) -> bool:
    if kind(a) != kind(b) and not (is_number(a) and is_number(b)):
        raise EvaluationError("no such overload")
    return bool(a <= b)


def _is_sorted(items: list[Any]) -> bool:
    return all(_in_order(a, b) for a, b in pairwise(items))


def _sum(zero: Any) -> Callable[[list[Any]], Any]:
    def add(items: list[Any]) -> Any:
        if isinstance(zero, Duration):
            return duration(sum(item.nanoseconds for item in items))
        total = sum(items, zero)
        return total if isinstance(zero, float) else in_range(total, isinstance(zero, Uint))

    return add


def _extreme(name: str, pick: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def extreme(items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        return pick(items)

    return extreme


def _index_of(items: list[Any], item: Any) -> int:
    return next((at for at, held in enumerate(items) if equal(held, item)), -1)


def _last_index_of(items: list[Any], item: Any) -> int:
    backwards = _index_of(items[::-1], item)
    return -1 if backwards < 0 else len(items) - 1 - backwards


def _distinct(items: list[Any]) -> list[Any]:
    if all(type(item) is str for item in items):
        return list(dict.fromkeys(items))
    found: list[Any] = []
    for item in items:
        if not any(equal(item, held) for held in found):
            found.append(item)
    return found


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    flat: list[Any] = []
    for item in items:
        if isinstance(item, list | tuple) and depth:
            flat += _flatten(list(item), depth - 1)
        else:
            flat.append(item)
    return flat


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(
            f"cannot slice({start}, {end}), start index must be less than or equal to end index"
        )
    if end > len(items):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _sort(items: list[Any]) -> list[Any]:
    if len({kind(item) for item in items}) > 1:
        raise EvaluationError("list elements must have the same type")
    return sorted(items, key=cmp_to_key(lambda a, b: -1 if _in_order(a, b) else 1))


def _range(end: int) -> list[int]:
    if end > _MAX_RANGE:
        raise EvaluationError(f"lists.range() size exceeds the limit of {_MAX_RANGE}")
    return list(range(end))


def _insert_entry(made: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    grown = dict(made)
    insert(grown, key, value)
    return grown


def _insert_all(made: dict[Any, Any], entries: dict[Any, Any]) -> dict[Any, Any]:
    grown = dict(made)
    for key, value in entries.items():
        insert(grown, key, value)
    return grown


_WALK = costs.items()

STANDARD: Functions = {
    "cel.@mapInsert": [
        overload("(map(K, V), K, V) -> map(K, V)", _insert_entry),
        overload("(map(K, V), map(K, V)) -> map(K, V)", _insert_all),
    ],
}

EXTENDED: Functions = {
    "isSorted": [overload(f"list({each}).() -> bool", _is_sorted, _WALK) for each in _ORDERED],
    "sum": [
        overload("list(int).() -> int", _sum(0), _WALK),
        overload("list(uint).() -> uint", _sum(Uint(0)), _WALK),
        overload("list(double).() -> double", _sum(0.0), _WALK),
        overload("list(duration).() -> duration", _sum(Duration(0)), _WALK),
    ],
    "max": [
        overload(f"list({each}).() -> {each}", _extreme("max", max), _WALK) for each in _ORDERED
    ],
    "min": [
        overload(f"list({each}).() -> {each}", _extreme("min", min), _WALK) for each in _ORDERED
    ],
    "indexOf": [overload("list(A).(A) -> int", _index_of, _WALK)],
    "lastIndexOf": [overload("list(A).(A) -> int", _last_index_of, _WALK)],
    "distinct": [overload("list(A).() -> list(A)", _distinct, _WALK)],
    "flatten": [
        overload("list(list(A)).() -> list(A)", _flatten, _WALK),
        overload("list(dyn).(int) -> list(dyn)", _flatten, _WALK),
    ],
    "slice": [overload("list(A).(int, int) -> list(A)", _slice, _WALK)],
    "reverse": [overload("list(A).() -> list(A)", operator.itemgetter(slice(None, None, -1)))],
    "sort": [overload(f"list({each}).() -> list({each})", _sort, _WALK) for each in _ORDERED],
    "first": [
        overload("list(A).() -> optional(A)", lambda held: OptionalValue(held[0]) if held else NONE)
    ],
    "last": [
        overload(
            "list(A).() -> optional(A)", lambda held: OptionalValue(held[-1]) if held else NONE
        )
    ],
    "lists.range": [overload("(int) -> list(int)", _range, costs.made(10))],
}
