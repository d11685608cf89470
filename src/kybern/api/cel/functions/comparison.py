"""Equality, order, membership and negation."""

import operator
from collections.abc import Callable
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.values import contains, equal, lookup

_NUMBERS = ("int", "uint", "double")
_ORDERED = ("bool", "string", "bytes", "timestamp", "duration")


def _order(name: str, holds: Callable[[Any, Any], bool]) -> Functions:
    """All overloads of one relation; numbers are compared across their types."""
    by_length = {"string", "bytes"}
    return {
        name: [
            *(
                overload(f"({left}, {right}) -> bool", holds)
                for left in _NUMBERS
                for right in _NUMBERS
            ),
            *(
                overload(
                    f"({each}, {each}) -> bool", holds, costs.shorter if each in by_length else None
                )
                for each in _ORDERED
            ),
        ]
    }


def _negate(value: Any) -> bool:
    if value is True or value is False:
        return not value
    raise EvaluationError("no such overload")


FUNCTIONS: Functions = {
    "_==_": [overload("(A, A) -> bool", equal, costs.shorter)],
    "_!=_": [overload("(A, A) -> bool", lambda a, b: not equal(a, b), costs.shorter)],
    **_order("_<_", operator.lt),
    **_order("_<=_", operator.le),
    **_order("_>_", operator.gt),
    **_order("_>=_", operator.ge),
    "@in": [
        overload("(A, list(A)) -> bool", contains, costs.items(1)),
        overload("(A, map(A, B)) -> bool", lambda key, held: lookup(held, key)[0]),
    ],
    # These are compiled, not called: they need not evaluate all that they are given.
    "_&&_": [overload("(bool, bool) -> bool", operator.and_)],
    "_||_": [overload("(bool, bool) -> bool", operator.or_)],
    "_?_:_": [overload("(bool, A, A) -> A", lambda test, a, b: a if test else b)],
    "_[_]": [
        overload("(list(A), int) -> A", operator.getitem),
        overload("(map(A, B), A) -> B", operator.getitem),
        overload("(optional(list(V)), int) -> optional(V)", operator.getitem),
        overload("(optional(map(K, V)), K) -> optional(V)", operator.getitem),
    ],
    "@not_strictly_false": [overload("(bool) -> bool", bool)],
    "!_": [overload("(bool) -> bool", _negate)],
}
