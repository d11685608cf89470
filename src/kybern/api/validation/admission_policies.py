"""Validation of admission policies and their bindings: all but the compiling of expressions.

``kinds/admissionregistration`` calls it for policies that validate and for those that mutate.
"""

import re

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.conditions import conditions
from kybern.api.validation.fields import dns_subdomain, named, qualified_name
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.names import is_dns1035_label, is_dns1123_subdomain, is_path_segment
from kybern.api.validation.webhooks import match_conditions, rule_with_operations

_MATCH_POLICIES = ("Equivalent", "Exact")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MUTATED_OPERATIONS = ("*", "CONNECT", "CREATE", "UPDATE")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_MAX_AUDIT_ANNOTATIONS = 20
_MAX_AUDIT_EXPRESSION = 5 * 1024
_is_identifier = re.compile("[_a-zA-Z][_a-zA-Z0-9]*").fullmatch
_RESERVED = (
    *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for"),
    *("function", "if", "import", "let", "loop", "package", "namespace", "return", "var"),
    *("void", "while"),
)


def validating_policy(policy: Obj) -> list[FieldError]:
    """Errors of a policy that says yes or no."""
    spec = policy.get("spec") or {}
    errors = _policy(spec)
    annotations = spec.get("auditAnnotations") or []
    if not spec.get("validations") and not annotations:
        text = "validations or auditAnnotations must contain at least one item"
        return errors + [required(f"spec.{f}", text) for f in ("validations", "auditAnnotations")]
    for i, validation in enumerate(spec.get("validations") or ()):
        errors += _validation(validation, f"spec.validations[{i}]")
    if len(annotations) > _MAX_AUDIT_ANNOTATIONS:
        text = f"must not have more than {_MAX_AUDIT_ANNOTATIONS} auditAnnotations"
        errors.append(invalid_value("spec.auditAnnotations", annotations, text))
    name = (policy.get("metadata") or {}).get("name", "")
    keys: set[str] = set()
    for i, annotation in enumerate(annotations):
        at, key = f"spec.auditAnnotations[{i}]", annotation.get("key", "")
        errors += _audit_annotation(annotation, name, at)
        if key in keys:
            errors.append(duplicate(f"{at}.key", key))
        keys.add(key)
    return errors


def mutating_policy(policy: Obj) -> list[FieldError]:
    """Errors of a policy that changes objects."""
    spec = policy.get("spec") or {}
    errors = _policy(spec)
    errors += _only_mutated(spec.get("matchConstraints"), "spec.matchConstraints")
    if not spec.get("mutations"):
        errors.append(required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(spec.get("mutations") or ()):
        errors += _mutation(mutation, f"spec.mutations[{i}]")
    again, at = spec.get("reinvocationPolicy"), "spec.reinvocationPolicy"
    if not again:
        errors.append(required(at))
    elif again not in ("IfNeeded", "Never"):
        errors.append(not_supported(at, again, ("IfNeeded", "Never")))
    return errors


def policy_status(new: Obj, old: Obj) -> list[FieldError]:
    """Errors of what type checking found, and of the conditions."""
    status = new.get("status") or {}
    errors: list[FieldError] = []
    warnings = (status.get("typeChecking") or {}).get("expressionWarnings") or ()
    for i, warning in enumerate(warnings):
        at = f"status.typeChecking.expressionWarnings[{i}]"
        if not warning.get("warning"):
            errors.append(required(f"{at}.warning"))
        if not warning.get("fieldRef", "").strip():
            errors.append(required(f"{at}.fieldRef"))
    return errors + conditions(status.get("conditions"), "status.conditions")


def _policy(spec: Obj) -> list[FieldError]:
    """What both sorts of policy have."""
    errors: list[FieldError] = []
    failure = spec.get("failurePolicy")
    if failure is None:
        errors.append(required("spec.failurePolicy"))
    elif failure not in ("Fail", "Ignore"):
        errors.append(not_supported("spec.failurePolicy", failure, ("Fail", "Ignore")))
    if spec.get("paramKind") is not None:
        errors += _param_kind(spec["paramKind"], "spec.paramKind")
    match = spec.get("matchConstraints")
    if match is None:
        errors.append(required("spec.matchConstraints"))
    else:
        errors += _match(match, "spec.matchConstraints")
        if not match.get("resourceRules"):
            errors.append(required("spec.matchConstraints.resourceRules"))
    errors += match_conditions(spec.get("matchConditions") or [], "spec.matchConditions")
    for i, variable in enumerate(spec.get("variables") or ()):
        errors += _variable(variable, f"spec.variables[{i}]")
    return errors


def _param_kind(kind: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    api_version, at = kind.get("apiVersion", ""), f"{path}.apiVersion"
    group, _, version = api_version.rpartition("/")
    if not api_version:
        errors.append(required(at))
    elif "/" in group:
        text = f"unexpected GroupVersion string: {api_version}"
        errors.append(invalid_value(at, api_version, text))
    else:
        wrong = is_dns1123_subdomain(group) if group else ()
        if wrong:
            errors.append(invalid_value(at, group, ",".join(wrong)))
        wrong = is_dns1035_label(version)
        if not version:
            errors.append(invalid_value(at, api_version, "version must be specified"))
        elif wrong:
            errors.append(invalid_value(at, version, ",".join(wrong)))
    name, at = kind.get("kind", ""), f"{path}.kind"
    wrong = is_dns1035_label(name.lower())
    if not name:
        errors.append(required(at))
    elif wrong:
        text = "may have mixed case, but should otherwise match: " + ",".join(wrong)
        errors.append(invalid_value(at, name, text))
    return errors


def _match(match: Obj, path: str) -> list[FieldError]:
    """Which requests a policy or its binding is about."""
    errors: list[FieldError] = []
    policy = match.get("matchPolicy")
    if policy is None:
        errors.append(required(f"{path}.matchPolicy"))
    elif policy not in _MATCH_POLICIES:
        errors.append(not_supported(f"{path}.matchPolicy", policy, _MATCH_POLICIES))
    for name in ("namespaceSelector", "objectSelector"):
        if match.get(name) is None:
            errors.append(required(f"{path}.{name}"))
        else:
            errors += label_selector(match[name], f"{path}.{name}")
    for group in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(group) or ()):
            at = f"{path}.{group}[{i}]"
            errors += _resource_names(rule.get("resourceNames") or [], f"{at}.resourceNames")
            errors += rule_with_operations(rule, at)
    return errors


def _resource_names(names: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, name in enumerate(names):
        errors += named(is_path_segment(name), name, f"{path}[{i}]")
        if name in names[:i]:
            errors.append(duplicate(f"{path}[{i}]", name))
    return errors


def _only_mutated(match: Obj | None, path: str) -> list[FieldError]:
    """What is being deleted cannot be changed."""
    return [
        not_supported(f"{path}.resourceRules.operations", operation, _MUTATED_OPERATIONS)
        for rule in (match or {}).get("resourceRules") or ()
        for operation in rule.get("operations") or ()
        if operation not in _MUTATED_OPERATIONS
    ]


def _variable(variable: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = variable.get("name", "")
    if not name.strip():
        errors.append(required(f"{path}.name", "name is not specified"))
    elif not _is_identifier(name) or name in _RESERVED:
        errors.append(invalid_value(f"{path}.name", name, "must be a valid CEL identifier"))
    return errors + _expression(variable, "expression", path)


def _expression(holder: Obj, field: str, path: str) -> list[FieldError]:
    if holder.get(field, "").strip():
        return []
    return [required(f"{path}.{field}", f"{field} is not specified")]


def _validation(validation: Obj, path: str) -> list[FieldError]:
    errors = _expression(validation, "expression", path)
    for field in ("messageExpression", "message"):
        text = validation.get(field, "")
        if text and not text.strip():
            errors.append(invalid_value(f"{path}.{field}", text, "must be non-empty if specified"))
    message = validation.get("message", "")
    if "\n" in message.strip() or "\r" in message.strip():
        errors.append(invalid_value(f"{path}.message", message, "must not contain line breaks"))
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(f"{path}.reason", reason, _REASONS))
    return errors


def _audit_annotation(annotation: Obj, policy: str, path: str) -> list[FieldError]:
    key, at = annotation.get("key", ""), f"{path}.key"
    if policy:
        errors = qualified_name(f"{policy}/{key}", at)
    else:
        errors = [invalid_value(at, key, "requires metadata.name be non-empty")]
    size = len(annotation.get("valueExpression", "").strip().encode())
    if size > _MAX_AUDIT_EXPRESSION:
        text = f"must not exceed {_MAX_AUDIT_EXPRESSION} bytes in length"
        return [*errors, required(f"{path}.valueExpression", text)]
    return errors + _expression(annotation, "valueExpression", path)


def _mutation(mutation: Obj, path: str) -> list[FieldError]:
    kind = mutation.get("patchType", "")
    if kind not in _PATCHES:
        at = f"{path}.patchType"
        return [not_supported(at, kind, sorted(_PATCHES)) if kind else required(at)]
    errors: list[FieldError] = []
    for other, field in _PATCHES.items():
        held, at = mutation.get(field), f"{path}.{field}"
        if other != kind:
            if held is not None:
                text = f"must not be specified when patchType is {kind}"
                errors.append(invalid_value(at, f"{{{field}}}", text))
        elif held is None:
            errors.append(required(at, f"must be specified when patchType is {kind}"))
        elif not held.get("expression", "").strip():
            errors.append(required(f"{at}.expression"))
    return errors


def policy_binding(binding: Obj, *, mutating: bool) -> list[FieldError]:
    """Errors of a binding."""
    spec = binding.get("spec") or {}
    name = spec.get("policyName", "")
    errors = dns_subdomain(name, "spec.policyName") if name else [required("spec.policyName")]
    errors += _param_ref(spec.get("paramRef"), "spec.paramRef")
    if spec.get("matchResources") is not None:
        errors += _match(spec["matchResources"], "spec.matchResources")
    if mutating:
        return errors + _only_mutated(spec.get("matchResources"), "spec.matchResources")
    return errors + _actions(spec.get("validationActions") or [], "spec.validationActions")


def _actions(held: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, action in enumerate(held):
        if action not in _ACTIONS:
            errors.append(not_supported(f"{path}[{i}]", action, _ACTIONS))
        if action in held[:i]:
            errors.append(duplicate(f"{path}[{i}]", action))
    if "Deny" in held and "Warn" in held:
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure "
            "information in the API response and headers serves no purpose)"
        )
        errors.append(invalid_value(path, held, text))
    if not held:
        errors.append(required(path, "at least one validation action is required"))
    return errors


def _param_ref(reference: Obj | None, path: str) -> list[FieldError]:
    """Parameters are named or selected, and it is said what their absence means."""
    if reference is None:
        return []
    name, selector = reference.get("name", ""), reference.get("selector")
    errors = named(is_path_segment(name), name, f"{path}.name")
    if name and selector is not None:
        text = "name and selector are mutually exclusive"
        errors += [field_forbidden(f"{path}.{field}", text) for field in ("name", "selector")]
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    errors += label_selector(selector, f"{path}.selector")
    action, at = reference.get("parameterNotFoundAction"), f"{path}.parameterNotFoundAction"
    if not action:
        errors.append(required(at))
    elif action not in ("Allow", "Deny"):
        errors.append(not_supported(at, action, ("Deny", "Allow")))
    return errors
