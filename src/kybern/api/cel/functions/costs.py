"""What calls cost, by cel-go's rules: traversals cost a tenth of a unit a character or item."""

from collections.abc import Sequence
from typing import Any

from kybern.api.cel.declarations import Cost
from kybern.api.cel.values import size


def traversal(length: int, times: int = 1) -> int:
    """A tenth of a unit for each, rounded up."""
    return -(-length * times // 10)


def scan(position: int = 0, times: int = 1) -> Cost:
    """One argument is walked over, once or ``times``."""
    return lambda args, result: traversal(size(args[position]), times)


def shorter(args: Sequence[Any], result: Any) -> int:
    """Two values are compared up to the end of the shorter."""
    return traversal(min(size(args[0]), size(args[1])))


def both(args: Sequence[Any], result: Any) -> int:
    """Two values are copied into one."""
    return traversal(size(args[0]) + size(args[1]))


def items(position: int = 0) -> Cost:
    """One unit an item."""
    return lambda args, result: size(args[position])


def regular_expression(args: Sequence[Any], result: Any) -> int:
    """The text's length by the expression's, a state to four characters."""
    return traversal(1 + size(args[0])) * -(-size(args[1]) // 4)


def search(args: Sequence[Any], result: Any) -> int:
    """A text is looked for at every place of another."""
    return traversal(size(args[0])) * traversal(size(args[1]))


def made(times: int) -> Cost:
    """The result is written, ``times`` over."""
    return lambda args, result: traversal(size(result), times)
