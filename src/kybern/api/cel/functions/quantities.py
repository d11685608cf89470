"""``quantity("1.5Gi")``: resource quantities in expressions."""

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.types import Type
from kybern.api.cel.values import MAX_INT, MIN_INT, register
from kybern.api.quantity import Quantity

QUANTITY = Type("kubernetes.Quantity")
register(Quantity, QUANTITY.name)

_NANO = 10**9


def parse(text: str) -> Quantity:
    """The quantity; raises EvaluationError."""
    try:
        return Quantity.parse(text)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        Quantity.parse(text)
    except ValueError:
        return False
    return True


def _is_integer(value: Quantity) -> bool:
    return value.nano % _NANO == 0 and MIN_INT <= value.nano // _NANO <= MAX_INT


def _integer(value: Quantity) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return value.nano // _NANO


def _compare(a: Quantity, b: Quantity) -> int:
    return (a.nano > b.nano) - (a.nano < b.nano)


def _whole(number: int) -> Quantity:
    return Quantity(number * _NANO)


_Q = QUANTITY.name

FUNCTIONS: Functions = {
    "quantity": [overload(f"(string) -> {_Q}", parse, costs.scan())],
    "isQuantity": [overload("(string) -> bool", _is_quantity, costs.scan())],
    "sign": [overload(f"{_Q}.() -> int", lambda value: (value.nano > 0) - (value.nano < 0))],
    "isInteger": [overload(f"{_Q}.() -> bool", _is_integer)],
    "asInteger": [overload(f"{_Q}.() -> int", _integer)],
    "asApproximateFloat": [overload(f"{_Q}.() -> double", lambda value: value.nano / _NANO)],
    "isGreaterThan": [overload(f"{_Q}.({_Q}) -> bool", lambda a, b: a.nano > b.nano)],
    "isLessThan": [overload(f"{_Q}.({_Q}) -> bool", lambda a, b: a.nano < b.nano)],
    "compareTo": [overload(f"{_Q}.({_Q}) -> int", _compare)],
    "add": [
        overload(f"{_Q}.({_Q}) -> {_Q}", lambda a, b: a + b),
        overload(f"{_Q}.(int) -> {_Q}", lambda a, b: a + _whole(b)),
    ],
    "sub": [
        overload(f"{_Q}.({_Q}) -> {_Q}", lambda a, b: a - b),
        overload(f"{_Q}.(int) -> {_Q}", lambda a, b: a - _whole(b)),
    ],
}
