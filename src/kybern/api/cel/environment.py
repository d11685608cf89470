"""The door of the room: an environment of variables and functions, and the programs made in it.

Callers (admission, custom resources, the scheduler's device allocation) declare what an expression
may name and get a :class:`Program`. Programs are pure and may be kept and shared; an evaluation is
bounded by its cost limit.
"""

from collections.abc import Mapping
from typing import Any

from kybern.api.cel.checker import Checked, check
from kybern.api.cel.closures import Code, Frame
from kybern.api.cel.compiler import compile_tree
from kybern.api.cel.declarations import Functions
from kybern.api.cel.errors import CompileError, EvaluationError, Issue
from kybern.api.cel.functions import KUBERNETES
from kybern.api.cel.parser import parse
from kybern.api.cel.types import Type

# What one call of one expression may cost (upstream's PerCallLimit).
PER_CALL_LIMIT = 1_000_000


class Program:
    """A compiled expression.

    ``type`` is what it evaluates to, as far as that is known; ``names`` are the variables that it
    reads.
    """

    def __init__(self, source: str, checked: Checked, code: Code) -> None:
        self.source, self.type = source, checked.type
        self.names = frozenset(checked.names.values())
        self._code = code

    def evaluate(self, variables: dict[str, Any], limit: int = PER_CALL_LIMIT) -> Any:
        """The value; raises :class:`EvaluationError` or :class:`CostLimitExceeded`."""
        return self.evaluate_with_cost(variables, limit)[0]

    def evaluate_with_cost(
        self, variables: dict[str, Any], limit: int = PER_CALL_LIMIT
    ) -> tuple[Any, int]:
        """The value and what it cost."""
        frame = Frame(variables, limit)
        try:
            return self._code(frame), frame.cost
        except EvaluationError as error:
            error.cost = frame.cost
            raise
        except RecursionError:
            raise EvaluationError("evaluation nests too deeply") from None


class Environment:
    """``variables`` by name, dotted names included; Kubernetes' functions unless told otherwise."""

    def __init__(self, variables: Mapping[str, Type], functions: Functions = KUBERNETES) -> None:
        self._variables, self._functions = variables, functions

    def compile(self, source: str) -> Program:
        """Parses, checks and compiles; raises :class:`CompileError` with cel-go's report."""
        try:
            checked = check(source, parse(source), self._variables, self._functions)
            return Program(source, checked, compile_tree(checked))
        except RecursionError:
            raise CompileError(source, [Issue(0, "expression nests too deeply")]) from None
