"""Label and field selectors: parse them, print them, match objects with them.

The API server's list, watch and deletecollection take both as query parameters; workloads,
services and policies carry label selectors as objects. Texts and errors are upstream's, the order
of requirements too (sorted by key), so a selector prints the same on both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from kybern.api.errors import bad_request
from kybern.api.validation.names import Messages, is_label_value, is_qualified_name

_LONGEST_SELECTOR = 64 * 1024
_BINARY_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_WHITESPACE = " \t\r\n"
_SPECIAL = "=!(),><"
_OPERATORS = {"=", "==", "!=", "in", "notin", ">", "<"}
_INT64 = re.compile(r"[+-]?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition; ``operator`` is ``=``, ``==``, ``!=``, in, notin, exists, ``!``, > or <."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet this condition."""
        value = labels.get(self.key)
        operator = self.operator
        if operator in ("=", "==", "in"):
            return value is not None and value in self.values
        if operator in ("!=", "notin"):
            return value is None or value not in self.values
        if operator == "exists":
            return value is not None
        if operator == "!":
            return value is None
        if value is None or not _INT64.fullmatch(value):
            return False
        wanted = int(self.values[0])
        return int(value) > wanted if operator == ">" else int(value) < wanted

    def __str__(self) -> str:
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator == "exists":
            return self.key
        values = ",".join(sorted(self.values))
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({values})"
        return f"{self.key}{self.operator}{values}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions on labels, all of which must hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @classmethod
    def parse(cls, text: str) -> "LabelSelector":
        """Read the text form (``a=b,c in (d,e),!f``); raises StatusError 400."""
        return _parse_labels(text)

    @classmethod
    def from_object(cls, selector: Mapping[str, Any] | None) -> "LabelSelector":
        """Read a metav1.LabelSelector. None selects nothing, an empty one everything."""
        if selector is None:
            return cls(nothing=True)
        found = [
            _checked_requirement(key, "=", (value,))
            for key, value in (selector.get("matchLabels") or {}).items()
        ]
        for expression in selector.get("matchExpressions") or ():
            operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
            if operator is None:
                shown = orjson.dumps(expression.get("operator", "")).decode()
                raise bad_request(f"{shown} is not a valid label selector operator")
            values = tuple(expression.get("values") or ())
            found.append(_checked_requirement(expression.get("key", ""), operator, values))
        return cls(_sorted(found))

    @classmethod
    def from_labels(cls, labels: Mapping[str, str] | None) -> "LabelSelector":
        """An exact match of every label, as Service.spec.selector means it."""
        return cls(_sorted([Requirement(k, "=", (v,)) for k, v in (labels or {}).items()]))

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether every condition holds for ``labels``."""
        if self.nothing:
            return False
        labels = labels or {}
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """``field=value``, or ``field!=value`` if ``negated``."""

    field: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'!=' if self.negated else '='}{value}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions on the selectable fields of a kind, all of which must hold."""

    requirements: tuple[FieldRequirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "FieldSelector":
        """Read ``field=value,other!=value`` with backslash escapes; raises StatusError 400."""
        return _parse_fields(text)

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.requirements

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether every condition holds; a missing field counts as empty, as upstream's do."""
        return all((fields.get(r.field, "") == r.value) != r.negated for r in self.requirements)

    def exact(self, field: str) -> str | None:
        """The value that ``field`` must have, if the selector fixes it."""
        for requirement in self.requirements:
            if requirement.field == field and not requirement.negated:
                return requirement.value
        return None

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def _sorted(requirements: list[Requirement]) -> tuple[Requirement, ...]:
    return tuple(sorted(requirements, key=lambda requirement: requirement.key))


def _checked_requirement(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    problems = [_invalid("key", key, text) for text in _joined(is_qualified_name(key))]
    if operator in ("in", "notin") and not values:
        detail = "for 'in', 'notin' operators, values set can't be empty"
        problems.append(f"values: Invalid value: []: {detail}")
    elif operator in ("exists", "!") and values:
        detail = "values set must be empty for exists and does not exist"
        shown = orjson.dumps(values).decode()
        problems.append(f"values: Invalid value: {shown}: {detail}")
    elif operator in (">", "<") and not _is_int64(values[0]):
        detail = "for 'Gt', 'Lt' operators, the value must be an integer"
        problems.append(_invalid("values[0]", values[0], detail))
    for index, value in enumerate(values):
        for text in _joined(is_label_value(value)):
            problems.append(_invalid(f"values[{index}][{key}]", value, text))
    if problems:
        raise bad_request(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, values)


def _is_int64(text: str) -> bool:
    return bool(_INT64.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def _joined(problems: Messages) -> list[str]:
    return ["; ".join(problems)] if problems else []


def _invalid(path: str, value: str, detail: str) -> str:
    return f"{path}: Invalid value: {orjson.dumps(value).decode()}: {detail}"


@lru_cache(maxsize=1024)
def _parse_labels(text: str) -> LabelSelector:
    if len(text) > _LONGEST_SELECTOR:
        raise bad_request("the label selector is too long")
    return LabelSelector(_sorted(_LabelParser(text).parse()))


class _LabelParser:
    """Recursive descent over the tokens of a label selector, one token ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token = self._peek()
            if token == "":
                return found
            if not (_is_identifier(token) or token == "!"):
                raise bad_request(f"found '{token}', expected: !, identifier, or 'end of string'")
            found.append(self._requirement())
            token = self._next()
            if token == "":
                return found
            if token != ",":
                raise bad_request(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if not (_is_identifier(following) or following == "!"):
                raise bad_request(f"found '{following}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._next()
        key = self._next()
        if not _is_identifier(key):
            raise self._unparsable(f"found '{key}', expected: identifier")
        problems = is_qualified_name(key)
        if problems:
            raise self._unparsable(_invalid("<nil>", key, "; ".join(problems)))
        if negated:
            return Requirement(key, "!")
        if self._peek() in ("", ","):
            return Requirement(key, "exists")
        operator = self._next()
        if operator not in _OPERATORS:
            raise self._unparsable(f"found '{operator}', expected: {_BINARY_OPERATORS}")
        values = self._values() if operator in ("in", "notin") else (self._exact_value(),)
        try:
            return _checked_requirement(key, operator, values)
        except Exception as problem:
            raise self._unparsable(str(problem)) from None

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._next()
        if not _is_identifier(token):
            raise self._unparsable(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> tuple[str, ...]:
        token = self._next()
        if token != "(":
            raise self._unparsable(f"found '{token}' expected: '('")
        values: dict[str, None] = {}
        wanted = True
        while True:
            token = self._next()
            if token == ")":
                if wanted:
                    values[""] = None
                return tuple(sorted(values))
            if token == ",":
                if wanted:
                    values[""] = None
                wanted = True
            elif _is_identifier(token) and wanted:
                values[token] = None
                wanted = False
            else:
                if not values:
                    expected = "',', ')' or identifier"
                else:
                    expected = "',', or identifier" if wanted else "',' or ')'"
                raise self._unparsable(f"found '{token}', expected: {expected}")

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _next(self) -> str:
        token = self._tokens[self._position]
        if token:
            self._position += 1
        return token

    @staticmethod
    def _unparsable(why: str) -> Exception:
        return bad_request(f"unable to parse requirement: {why}")


def _is_identifier(token: str) -> bool:
    return token != "" and token[0] not in _SPECIAL


def _tokens(text: str) -> list[str]:
    """Identifiers, keywords and operators; the last token is the empty end of string."""
    tokens: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character in _WHITESPACE:
            position += 1
        elif character in _SPECIAL:
            length = 2 if text[position : position + 2] in ("==", "!=") else 1
            tokens.append(text[position : position + length])
            position += length
        else:
            end = position
            while end < len(text) and text[end] not in _SPECIAL and text[end] not in _WHITESPACE:
                end += 1
            tokens.append(text[position:end])
            position = end
    tokens.append("")
    return tokens


@lru_cache(maxsize=1024)
def _parse_fields(text: str) -> FieldSelector:
    if len(text) > _LONGEST_SELECTOR:
        raise bad_request("the field selector is too long")
    found = []
    for term in sorted(re.findall(r"(?:[^,\\]|\\.|\\$)+", text, re.DOTALL)):
        split = re.match(r"(.*?)(!=|==|=)(.*)", term, re.DOTALL)
        if split is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = split.groups()
        found.append(FieldRequirement(field, _unescaped(value), operator == "!="))
    return FieldSelector(tuple(found))


def _unescaped(value: str) -> str:
    out: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in ("\\", ",", "="):
                sequence = f"\\{escaped}"
                raise bad_request(f"invalid field selector: invalid escape sequence: {sequence}")
            out.append(escaped)
        elif character == "=":
            # Upstream prints the character's number here, not the character.
            raise bad_request(f"invalid field selector: unescaped character in value: {ord('=')}")
        else:
            out.append(character)
    return "".join(out)
