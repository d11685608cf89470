"""The closures that a compiled expression is made of: one maker for each way to come to a value.

``compiler.py`` puts them together. Each closure takes the :class:`Frame` of the evaluation and
counts what it costs into it, by the rules of cel-go's runtime tracker with Kubernetes' choices: a
literal is free, a name or a field one unit, ``has`` none, a list 10, a map 30, an object 40, a call
what its function says. Beyond the frame's limit the evaluation stops.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kybern.api.cel.declarations import Overload
from kybern.api.cel.errors import CostLimitExceeded, EvaluationError
from kybern.api.cel.syntax import Comprehension
from kybern.api.cel.values import NONE, OptionalValue, kind, lookup

LIST_COST, MAP_COST, OBJECT_COST = 10, 30, 40


class Frame:
    """One evaluation: the variables in scope, what it has cost, what it may cost."""

    __slots__ = ("cost", "limit", "variables")

    def __init__(self, variables: dict[str, Any], limit: int) -> None:
        self.variables, self.limit, self.cost = variables, limit, 0


Code = Callable[[Frame], Any]


def insert(made: dict[Any, Any], key: Any, value: Any) -> None:
    """Adds an entry to a map under construction; a key that is there already is an error."""
    if lookup(made, key)[0]:
        raise EvaluationError(f"insert failed: key {key} already exists")
    made[key] = value


def variable(name: str) -> Code:
    def read(frame: Frame) -> Any:
        frame.cost += 1
        try:
            return frame.variables[name]
        except KeyError:
            raise EvaluationError(f"no such attribute(s): {name}") from None

    return read


def select_field(operand: Code, key: str) -> Code:
    def select(frame: Frame) -> Any:
        held = operand(frame)
        frame.cost += 1
        try:
            return held[key]
        except KeyError:
            raise EvaluationError(f"no such key: {key}") from None
        except TypeError:
            raise EvaluationError(f"unsupported field selection on {kind(held)}") from None

    return select


def has_field(operand: Code, key: str) -> Code:
    def present(frame: Frame) -> bool:
        held = operand(frame)
        if not isinstance(held, dict):
            raise EvaluationError(f"unsupported field selection on {kind(held)}")
        return key in held

    return present


def optional_field(operand: Code, key: str, test: bool) -> Code:
    def select(frame: Frame) -> Any:
        held = operand(frame)
        frame.cost += 1
        if isinstance(held, OptionalValue):
            held = held.value if held.present else {}
        there = isinstance(held, dict) and key in held
        if test:
            return there
        return OptionalValue(held[key]) if there else NONE

    return select


def index(operand: Code, index: Code) -> Code:
    def read(frame: Frame) -> Any:
        held, key = operand(frame), index(frame)
        frame.cost += 1
        if isinstance(held, OptionalValue):
            return element(held.value, key)[1] if held.present else NONE
        there, value = element(held, key)
        if not there:
            missing = "index out of bounds" if isinstance(held, list | tuple) else "no such key"
            raise EvaluationError(f"{missing}: {key}")
        return value

    return read


def element(held: Any, key: Any) -> tuple[bool, Any]:
    """Whether a list or a map has an element there, and the element."""
    if isinstance(held, dict):
        if type(key) is not str:
            return lookup(held, key)
        try:
            return True, held[key]
        except KeyError:
            return False, None
    if isinstance(held, list | tuple):
        if isinstance(key, bool) or not isinstance(key, int | float) or key != int(key):
            raise EvaluationError(f"unsupported index type '{kind(key)}' in list")
        return (True, held[int(key)]) if 0 <= key < len(held) else (False, None)
    raise EvaluationError("no such overload")


def optional_index(operand: Code, index: Code) -> Code:
    def read(frame: Frame) -> Any:
        held, key = operand(frame), index(frame)
        frame.cost += 1
        if isinstance(held, OptionalValue):
            if not held.present:
                return NONE
            held = held.value
        there, value = element(held, key)
        return OptionalValue(value) if there else NONE

    return read


def _truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvaluationError("no such overload")


def _and(left: Code, right: Code) -> Code:
    """False decides, even where the other side fails."""

    def both(frame: Frame) -> bool:
        try:
            if not _truth(left(frame)):
                return False
        except EvaluationError:
            if not _truth(right(frame)):
                return False
            raise
        return _truth(right(frame))

    return both


def _or(left: Code, right: Code) -> Code:
    """True decides, even where the other side fails."""

    def either(frame: Frame) -> bool:
        try:
            if _truth(left(frame)):
                return True
        except EvaluationError:
            if _truth(right(frame)):
                return True
            raise
        return _truth(right(frame))

    return either


def _conditional(test: Code, then: Code, otherwise: Code) -> Code:
    return lambda frame: then(frame) if _truth(test(frame)) else otherwise(frame)


def _not_strictly_false(test: Code) -> Code:
    def go_on(frame: Frame) -> bool:
        frame.cost += 1
        try:
            return test(frame) is not False
        except EvaluationError:
            return True

    return go_on


def _or_else(operand: Code, otherwise: Code) -> Code:
    def first(frame: Frame) -> Any:
        held = operand(frame)
        return held if held.present else otherwise(frame)

    return first


def _or_value(operand: Code, otherwise: Code) -> Code:
    def first(frame: Frame) -> Any:
        held = operand(frame)
        return held.value if held.present else otherwise(frame)

    return first


SPECIAL: dict[str, Callable[..., Code]] = {
    "_&&_": _and,
    "_||_": _or,
    "_?_:_": _conditional,
    "_[_]": index,
    "_[?_]": optional_index,
    "@not_strictly_false": _not_strictly_false,
    "or": _or_else,
    "orValue": _or_value,
}


def direct_call(overload: Overload, args: list[Code]) -> Code:
    """A call whose types were certain before anything ran."""
    run, cost = overload.run, overload.cost

    def call(frame: Frame) -> Any:
        values = [arg(frame) for arg in args]
        result = run(*values)
        frame.cost += cost(values, result) if cost else 1
        if frame.cost > frame.limit:
            raise CostLimitExceeded
        return result

    return call


def dispatched_call(overloads: Sequence[Overload], args: list[Code]) -> Code:
    def chosen(values: list[Any]) -> Overload:
        for candidate in overloads:
            if candidate.takes(values):
                return candidate
        raise EvaluationError("no such overload")

    def call(frame: Frame) -> Any:
        values = [arg(frame) for arg in args]
        target = chosen(values)
        result = target.run(*values)
        frame.cost += target.cost(values, result) if target.cost else 1
        if frame.cost > frame.limit:
            raise CostLimitExceeded
        return result

    return call


def fold(
    node: Comprehension, ranged: Code, initial: Code, condition: Code, step: Code, result: Code
) -> Code:
    first, second, accumulator = node.variable, node.second, node.accumulator

    def fold(frame: Frame) -> Any:
        over = ranged(frame)
        pairs = _pairs(over, bool(second))
        outer = frame.variables
        frame.variables = scope = dict(outer)
        try:
            scope[accumulator] = _value_or_error(initial, frame)
            for one, other in pairs:
                scope[first] = one
                if second:
                    scope[second] = other
                if not condition(frame):
                    break
                scope[accumulator] = _value_or_error(step, frame)
                if frame.cost > frame.limit:
                    raise CostLimitExceeded
            return result(frame)
        finally:
            frame.variables = outer

    return fold


def _value_or_error(code: Code, frame: Frame) -> Any:
    try:
        return code(frame)
    except EvaluationError as error:
        return error


def _pairs(over: Any, both: bool) -> Sequence[tuple[Any, Any]]:
    """What one or two iteration variables take in turn."""
    if isinstance(over, OptionalValue):
        over = [over.value] if over.present else []
    if isinstance(over, dict):
        return list(over.items())
    if isinstance(over, list | tuple):
        return list(enumerate(over)) if both else [(item, None) for item in over]
    raise EvaluationError(f"got '{kind(over)}', expected iterable type")
