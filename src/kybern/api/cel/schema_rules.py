"""The rules that a schema carries (``x-kubernetes-validations``), held against values.

A definition is accepted only if its rules compile (``api/validation``); custom resources are then
judged by ``Rules.judge`` at every write. Rules that name ``oldSelf`` judge changes of values that
can be told apart from others: fields, entries of maps, items of lists with keys. A rule that an
unchanged value fails is no obstacle to changing something else (ratcheting). Costs are bounded for
each rule and for each object (KEP 2876, KEP 4008).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kybern.api.cel.environment import PER_CALL_LIMIT, Environment, Program
from kybern.api.cel.errors import CelError, CompileError, CostLimitExceeded, EvaluationError
from kybern.api.cel.schema_types import Reader, declared, reader
from kybern.api.cel.types import BOOL, STRING, Type, is_dynamic, optional_of
from kybern.api.cel.values import NONE, OptionalValue
from kybern.api.errors import FieldError, Obj
from kybern.api.validation.schema_rules import EXTENSION

# What all rules of one object may cost together (upstream's RuntimeCELCostBudget).
BUDGET = 10_000_000
MOST_ERRORS = 100
OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)
_LABELS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}


class WrongType(CompileError):
    """An expression that comes to something else than it has to."""

    def __init__(self, text: str) -> None:
        super().__init__("", [])
        self.text = text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready; ``declared`` is how the schema has it."""

    declared: Obj
    program: Program
    message: Program | None

    @property
    def names_old(self) -> bool:
        return "oldSelf" in self.program.names

    @property
    def old_is_optional(self) -> bool:
        return bool(self.declared.get("optionalOldSelf"))


def compile_rule(rule: Obj, type_: Type) -> Rule:
    """A rule over values of a type; raises CompileError."""
    old = optional_of(type_) if rule.get("optionalOldSelf") else type_
    program = Environment({"self": type_, "oldSelf": old}).compile(rule["rule"])
    if program.type != BOOL and not is_dynamic(program.type):
        raise WrongType("cel expression must evaluate to a bool")
    return Rule(rule, program, compile_message(rule, type_))


def compile_message(rule: Obj, type_: Type) -> Program | None:
    if not rule.get("messageExpression"):
        return None
    old = optional_of(type_) if rule.get("optionalOldSelf") else type_
    message = Environment({"self": type_, "oldSelf": old}).compile(rule["messageExpression"])
    if message.type != STRING and not is_dynamic(message.type):
        raise WrongType("must evaluate to a string")
    return message


@dataclass(slots=True)
class Rules:
    """The rules of a schema and of the schemas within it."""

    kind: str
    rules: list[Rule]
    read: Reader | None
    properties: dict[str, "Rules"] = field(default_factory=dict)
    additional: "Rules | None" = None
    items: "Rules | None" = None
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: Obj, root: bool = False) -> "Rules | None":
        """None where there are no rules. Those that do not compile are left out: the definition
        could not be stored with them today."""
        type_ = declared(schema, root)
        rules = [] if type_ is None else list(_compiled(schema, type_))
        made = cls(schema.get("type", ""), rules, reader(schema, root))
        for name, held in (schema.get("properties") or {}).items():
            if (below := cls.of(held)) is not None:
                made.properties[name] = below
        if isinstance(schema.get("additionalProperties"), dict):
            made.additional = cls.of(schema["additionalProperties"])
        if isinstance(schema.get("items"), dict):
            made.items = cls.of(schema["items"])
            if schema.get("x-kubernetes-list-type") == "map":
                made.keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        below_any = made.properties or made.additional or made.items
        return made if made.rules or below_any else None

    def judge(self, new: Any, old: Any = None) -> list[FieldError]:
        """What is wrong with a value, or with its change from ``old``; None for no old value."""
        return _Judgement().of(self, new, old)


def _compiled(schema: Obj, type_: Type) -> Iterator[Rule]:
    for rule in schema.get(EXTENSION) or ():
        try:
            yield compile_rule(rule, type_)
        except CompileError:
            continue


class _OutOfBudget(Exception):
    """All rules of the object together have cost what they may."""


class _Judgement:
    """One object's way through its rules."""

    def __init__(self) -> None:
        self.left = BUDGET
        self.errors: list[FieldError] = []

    def of(self, rules: Rules, new: Any, old: Any) -> list[FieldError]:
        try:
            self.visit(rules, new, old, "", kept=False)
        except _OutOfBudget:
            pass
        return self.errors[:MOST_ERRORS]

    def visit(self, rules: Rules, new: Any, old: Any, path: str, kept: bool) -> None:
        """``kept``: an enclosing value that can be told apart is what it was."""
        if new is None or len(self.errors) >= MOST_ERRORS:
            return
        kept = kept or (old is not None and new == old)
        if rules.rules:
            self.hold(rules, new, old, path, kept)
        if isinstance(new, dict):
            before = old if isinstance(old, dict) else {}
            for name, held in new.items():
                below = rules.properties.get(name) or rules.additional
                if below is not None:
                    keyed = name in rules.properties
                    at = f"{path}.{name}".lstrip(".") if keyed else f"{path}[{name}]"
                    self.visit(below, held, before.get(name), at, kept)
        elif isinstance(new, list) and rules.items is not None:
            for position, item in enumerate(new):
                before_item = _same_item(item, old, rules.keys)
                self.visit(rules.items, item, before_item, f"{path}[{position}]", kept)

    def hold(self, rules: Rules, new: Any, old: Any, path: str, kept: bool) -> None:
        read = rules.read or (lambda value: value)
        variables = {"self": read(new)}
        before = None if old is None else read(old)
        for rule in rules.rules:
            if rule.names_old and old is None and not rule.old_is_optional:
                continue
            if rule.old_is_optional:
                variables["oldSelf"] = NONE if old is None else OptionalValue(before)
            else:
                variables["oldSelf"] = before
            error = self.failure(rules, rule, variables, new, path)
            if error is not None and (rule.names_old or not kept):
                self.errors.append(error)

    def failure(
        self, rules: Rules, rule: Rule, variables: Obj, value: Any, path: str
    ) -> FieldError | None:
        try:
            if self.run(rule.program, variables) is True:
                return None
        except _OutOfBudget:
            self.errors.append(_error("FieldValueInvalid", path, rules.kind, OUT_OF_BUDGET))
            raise
        except CostLimitExceeded as error:
            text = f"'{error}': no further validation rules will be run due to call cost exceeds "
            text += f"limit for rule: {_said(rule)}"
            self.errors.append(_error("FieldValueInvalid", path, rules.kind, text))
            raise _OutOfBudget from None
        except EvaluationError as error:
            text = f"{error} evaluating rule: {_said(rule)}"
            if str(error).startswith("no such overload"):
                text = f"'{error}': call arguments did not match a supported operator, function "
                text += f"or macro signature for rule: {_said(rule)}"
            return _error("FieldValueInvalid", path, rules.kind, text)
        at = f"{path}{rule.declared.get('fieldPath', '')}".lstrip(".")
        shown = None if rules.kind in ("object", "array") else value
        reason = rule.declared.get("reason") or "FieldValueInvalid"
        return _error(reason, at, shown, self.message(rule, variables))

    def message(self, rule: Rule, variables: Obj) -> str:
        if rule.message is not None:
            try:
                text = self.run(rule.message, variables)
            except (CelError, _OutOfBudget):
                text = None
            # What cannot be a message is not shown: upstream falls back on the plain one.
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        told = rule.declared.get("message", "").strip()
        return told or f"failed rule: {rule.declared['rule'].strip()}"

    def run(self, program: Program, variables: Obj) -> Any:
        """The value, paid for; raises _OutOfBudget where that cannot be."""
        try:
            value, cost = program.evaluate_with_cost(variables, PER_CALL_LIMIT)
        except EvaluationError as error:
            self.left -= error.cost
            raise
        if cost > self.left:
            raise _OutOfBudget
        self.left -= cost
        return value


def _same_item(item: Any, old: Any, keys: tuple[str, ...]) -> Any:
    """The item of the old list that has the same keys."""
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return None
    wanted = [item.get(key) for key in keys]
    for held in old:
        if isinstance(held, dict) and [held.get(key) for key in keys] == wanted:
            return held
    return None


def _said(rule: Rule) -> str:
    told: str = rule.declared.get("message", "").strip() or rule.declared["rule"].strip()
    return told


def _error(reason: str, path: str, value: Any, detail: str) -> FieldError:
    """Objects and lists are not printed; a required or forbidden value never is."""
    label = _LABELS.get(reason, "Invalid value")
    if value is not None and reason in ("FieldValueInvalid", "FieldValueDuplicate"):
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        label = f"{label}: {shown}"
    return FieldError(reason, path or "<nil>", f"{label}: {detail}")
