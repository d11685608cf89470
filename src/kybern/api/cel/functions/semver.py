"""``semver("1.2.3")``: semantic versions (semver.org, 2.0.0) in expressions."""

import re
from dataclasses import dataclass
from typing import Any

from kybern.api.cel.declarations import Functions, overload
from kybern.api.cel.errors import EvaluationError
from kybern.api.cel.functions import costs
from kybern.api.cel.types import Type
from kybern.api.cel.values import register

SEMVER = Type("kubernetes.Semver")

_NUMBER = r"(?:0|[1-9][0-9]*)"
_MARK = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_FORM = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_MARK}(?:\.{_MARK})*))?(?:\+([0-9A-Za-z.-]+))?"
)
_LONGEST = 256


@dataclass(frozen=True, slots=True, eq=False)
class Semver:
    """Ordered by the rules of semver.org; what stands behind a plus does not count."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    def order(self) -> tuple[Any, ...]:
        # A release follows its pre-releases; numbers come before words.
        marks = tuple((0, int(m), "") if m.isdigit() else (1, 0, m) for m in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, marks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.order() == other.order()

    def __hash__(self) -> int:
        return hash(self.order())


register(Semver, SEMVER.name)


def parse(text: str) -> Semver:
    """A full version of three numbers; raises EvaluationError."""
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise EvaluationError(f"invalid semantic version {text!r}")
    major, minor, patch, pre, _ = match.groups()
    return Semver(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else ())


def normalised(text: str) -> str:
    """``v1.01`` as ``1.1.0``: no leading v or zeros, missing numbers are zero."""
    core, mark = re.fullmatch(r"v?([0-9.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    numbers = [number.lstrip("0") or "0" for number in core.split(".")] if core else []
    if len(numbers) > 3 or "" in core.split("."):
        return text
    return ".".join([*numbers, "0", "0"][:3]) + mark


def _parse(text: str, normalise: bool = False) -> Semver:
    return parse(normalised(text) if normalise else text)


def _is_semver(text: str, normalise: bool = False) -> bool:
    try:
        _parse(text, normalise)
    except EvaluationError:
        return False
    return True


def _compare(a: Semver, b: Semver) -> int:
    return (a.order() > b.order()) - (a.order() < b.order())


_S = SEMVER.name

FUNCTIONS: Functions = {
    "semver": [
        overload(f"(string) -> {_S}", _parse, costs.scan()),
        overload(f"(string, bool) -> {_S}", _parse, costs.scan()),
    ],
    "isSemver": [
        overload("(string) -> bool", _is_semver, costs.scan()),
        overload("(string, bool) -> bool", _is_semver, costs.scan()),
    ],
    "isGreaterThan": [overload(f"{_S}.({_S}) -> bool", lambda a, b: _compare(a, b) > 0)],
    "isLessThan": [overload(f"{_S}.({_S}) -> bool", lambda a, b: _compare(a, b) < 0)],
    "compareTo": [overload(f"{_S}.({_S}) -> int", _compare)],
    "major": [overload(f"{_S}.() -> int", lambda value: value.major)],
    "minor": [overload(f"{_S}.() -> int", lambda value: value.minor)],
    "patch": [overload(f"{_S}.() -> int", lambda value: value.patch)],
}
