"""CEL, the Common Expression Language, as Kubernetes speaks it.

An expression goes ``tokens`` -> ``parser`` (with ``macros``) -> ``checker`` -> ``compiler`` and
comes out as a :class:`Program`: closures over plain JSON values, microseconds an evaluation.
``declarations`` says how functions are declared; ``functions/`` has one file per library.
Everything is bounded: source length, nesting, cost.
"""

from kybern.api.cel.environment import PER_CALL_LIMIT, Environment, Program
from kybern.api.cel.errors import CelError, CompileError, CostLimitExceeded, EvaluationError

__all__ = [
    "PER_CALL_LIMIT",
    "CelError",
    "CompileError",
    "CostLimitExceeded",
    "Environment",
    "EvaluationError",
    "Program",
]
