"""Judges custom resources by their schema, and then by the rules that it carries."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kybern.api.errors import FieldError, Obj
from kybern.api.validation.schema_rules import EXTENSION
from kybern.apiserver.custom_resources.schema_validation import validate

if TYPE_CHECKING:
    from kybern.api.cel.schema_rules import Rules

Judge = Callable[[Obj, Obj | None], list[FieldError]]

# After one of these a rule might stumble over a value that should not be there, or is not.
_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_NOT_CHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def judge_of(schema: Obj) -> Judge:
    """The errors of a new object, or of a change from an old one, by one version's schema."""
    if not _declares_rules(schema):
        return lambda new, old: validate(new, schema)
    rules: list[Rules | None] = []

    def judge(new: Obj, old: Obj | None) -> list[FieldError]:
        errors = validate(new, schema)
        if any(error.reason in _BLOCKING for error in errors):
            return [*errors, FieldError("FieldValueInvalid", "<nil>", _NOT_CHECKED)]
        if not rules:
            # Compiled with the first object: a definition that is only stored costs nothing.
            from kybern.api.cel.schema_rules import Rules

            rules.append(Rules.of(schema, root=True))
        return errors + (rules[0].judge(new, old) if rules[0] is not None else [])

    return judge


def _declares_rules(schema: Obj) -> bool:
    if schema.get(EXTENSION):
        return True
    parts = [*(schema.get("properties") or {}).values()]
    parts += [schema.get("items"), schema.get("additionalProperties")]
    return any(isinstance(part, dict) and _declares_rules(part) for part in parts)
