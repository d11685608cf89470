"""Functions as data: names, signatures, what runs and what a call costs.

Libraries declare themselves with :func:`function`; ``environment.py`` collects them, the checker
picks among the overloads by their types and the compiler calls ``run``. A signature is written
``(string, int) -> bool`` for a plain function, ``string.(int) -> bool`` for a method.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kybern.api.cel.types import Parameter, Type, is_dynamic, read
from kybern.api.cel.values import kind

Run = Callable[..., Any]
# From the arguments and the result to cost units; None is one unit.
Cost = Callable[[Sequence[Any], Any], int]

_SIGNATURE = re.compile(r"(?:(?P<target>.+?)\.)?\((?P<args>.*)\) -> (?P<result>.+)")


@dataclass(frozen=True, slots=True)
class Overload:
    """One way to call a function. ``args`` has the target of a method in front."""

    args: tuple[Type, ...]
    result: Type
    method: bool
    run: Run
    cost: Cost | None

    def takes(self, values: Sequence[Any]) -> bool:
        """Whether the values that a call has at run time are of these types."""
        return len(values) == len(self.args) and all(map(_fits, self.args, values))


Functions = dict[str, list[Overload]]


def overload(signature: str, run: Run, cost: Cost | None = None) -> Overload:
    match = _SIGNATURE.fullmatch(signature)
    assert match is not None, signature
    args = _split(match["args"])
    if match["target"]:
        args.insert(0, match["target"])
    types = tuple(read(arg) for arg in args)
    return Overload(types, read(match["result"]), bool(match["target"]), run, cost)


def merge(*tables: Functions) -> Functions:
    """One table; overloads of one name follow each other in the order of the tables."""
    merged: Functions = {}
    for table in tables:
        for name, overloads in table.items():
            merged.setdefault(name, []).extend(overloads)
    return merged


def _split(args: str) -> list[str]:
    """At the commas that stand in no parentheses."""
    parts, depth, current = [], 0, ""
    for char in args:
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append(current)
            current = ""
        else:
            current += char
    return [part.strip() for part in [*parts, current] if part.strip()]


def _fits(type_: Type, value: Any) -> bool:
    return isinstance(type_, Parameter) or is_dynamic(type_) or kind(value) == type_.name
