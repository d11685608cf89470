"""Rules in the schemas of custom resources: complete, compiled, and about what can be compared."""

import re

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required

EXTENSION = "x-kubernetes-validations"

_REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
_LINE_BREAK = re.compile(r"[\r\n]")
_FIELD_PATH = re.compile(r"(\.[A-Za-z_$][\w$-]*|\['[^']+'\])+")


def schema_rules(
    schema: Obj, path: str, *, root: bool = True, comparable: bool = True
) -> list[FieldError]:
    """Errors of the rules of a structural schema and of the schemas within it.

    ``comparable`` values can be told apart from their neighbours, so that a rule may speak of what
    they were: items of lists cannot, unless the list has keys.
    """
    errors: list[FieldError] = []
    for position, rule in enumerate(schema.get(EXTENSION) or ()):
        at = f"{path}.{EXTENSION}[{position}]"
        own = _form(rule, at)
        errors += own or _meaning(rule, schema, at, root, comparable)
    for name, held in (schema.get("properties") or {}).items():
        at = f"{path}.properties[{name}]"
        errors += schema_rules(held, at, root=False, comparable=comparable)
    for name in ("additionalProperties", "items"):
        if isinstance(held := schema.get(name), dict):
            keyed = name != "items" or schema.get("x-kubernetes-list-type") == "map"
            inner = comparable and keyed
            errors += schema_rules(held, f"{path}.{name}", root=False, comparable=inner)
    return errors


def _form(rule: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    text, message = rule.get("rule", "").strip(), rule.get("message", "")
    if not text:
        errors.append(required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        why = "must be non-empty if specified"
        errors.append(invalid_value(f"{path}.message", message, why))
    elif _LINE_BREAK.search(message.strip()):
        why = "must not contain line breaks"
        errors.append(invalid_value(f"{path}.message", message, why))
    elif _LINE_BREAK.search(text) and not message:
        why = "message must be specified if rule contains line breaks"
        errors.append(required(f"{path}.message", why))
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        why = "messageExpression must be non-empty if specified"
        errors.append(required(f"{path}.messageExpression", why))
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        errors.append(not_supported(f"{path}.reason", rule["reason"], _REASONS))
    field = rule.get("fieldPath", "")
    if field and not _FIELD_PATH.fullmatch(field):
        errors.append(invalid_value(f"{path}.fieldPath", field, "must be a valid path"))
    return errors


def _meaning(rule: Obj, schema: Obj, path: str, root: bool, comparable: bool) -> list[FieldError]:
    # Loaded with the first rule: most clusters' own definitions have none, and start-up counts.
    from kybern.api.cel.errors import CompileError
    from kybern.api.cel.schema_rules import WrongType, compile_message, compile_rule
    from kybern.api.cel.schema_types import declared

    type_ = declared(schema, root)
    if type_ is None:
        return []
    try:
        compiled = compile_rule({**rule, "messageExpression": ""}, type_)
    except WrongType as error:
        return [invalid_value(f"{path}.rule", rule, str(error))]
    except CompileError as error:
        return [invalid_value(f"{path}.rule", rule, f"compilation failed: {error}")]
    try:
        compile_message(rule, type_)
    except CompileError as error:
        why = f"messageExpression compilation failed: {error}"
        return [invalid_value(f"{path}.messageExpression", rule, why)]
    if compiled.names_old and not comparable:
        why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"
        return [invalid_value(f"{path}.rule", rule["rule"], why)]
    if not compiled.names_old and rule.get("optionalOldSelf") is not None:
        why = "may not be set if oldSelf is not used in rule"
        return [invalid_value(f"{path}.optionalOldSelf", rule["optionalOldSelf"], why)]
    return []
