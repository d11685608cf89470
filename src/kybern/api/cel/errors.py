"""What can go wrong with an expression: it does not compile, it fails, or it costs too much.

The texts of :class:`CompileError` are those that cel-go prints, since API servers quote them in
causes: one block per problem, with the line and a caret under the column.
"""

from dataclasses import dataclass


class CelError(Exception):
    """Base of everything this room raises."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem: a text and the offset in the source, in characters."""

    offset: int
    text: str


class CompileError(CelError):
    """The expression has no meaning in its environment; ``str()`` is the full report."""

    def __init__(self, source: str, issues: list[Issue]) -> None:
        self.issues = issues
        super().__init__("\n".join(_block(source, issue) for issue in issues))


class EvaluationError(CelError):
    """An evaluation came to no value: a missing key, an overflow, a division by zero.

    ``cost`` is what it had cost by then.
    """

    cost = 0


class CostLimitExceeded(CelError):
    """The evaluation was stopped: it may not be absorbed by ``||`` as other errors are."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def _block(source: str, issue: Issue) -> str:
    before = source[: issue.offset]
    line, column = before.count("\n") + 1, issue.offset - (before.rfind("\n") + 1)
    text = source.split("\n")[line - 1]
    return f"ERROR: <input>:{line}:{column + 1}: {issue.text}\n | {text}\n | {'.' * column}^"
