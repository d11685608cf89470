"""Values that may be absent (cel-go's optional types)."""

from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.values import NONE, Duration, OptionalValue, Timestamp


def _value(optional: OptionalValue) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _of_non_zero(value: Any) -> OptionalValue:
    empty = not value or value in (Timestamp(0), Duration(0))
    return NONE if empty else OptionalValue(value)


def _first_of(a: OptionalValue, b: Any) -> Any:
    return a if a.present else b


FUNCTIONS: Functions = {
    "optional.of": [overload("(V) -> optional(V)", OptionalValue)],
    "optional.ofNonZeroValue": [overload("(V) -> optional(V)", _of_non_zero)],
    "optional.none": [overload("() -> optional(V)", lambda: NONE)],
    "optional.unwrap": [
        overload(
            "(list(optional(V))) -> list(V)", lambda each: [o.value for o in each if o.present]
        )
    ],
    "unwrapOpt": [
        overload(
            "list(optional(V)).() -> list(V)", lambda each: [o.value for o in each if o.present]
        )
    ],
    "hasValue": [overload("optional(V).() -> bool", lambda optional: optional.present)],
    "value": [overload("optional(V).() -> V", _value)],
    # Compiled, not called: what stands in for an absent value is only evaluated where it is.
    "or": [overload("optional(V).(optional(V)) -> optional(V)", _first_of)],
    "orValue": [overload("optional(V).(V) -> V", _first_of)],
}
