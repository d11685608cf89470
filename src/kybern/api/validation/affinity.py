"""Validation of what steers scheduling: affinity, tolerations, taints, spread constraints."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.fields import positive
from kybern.api.validation.label_selectors import (
    NEEDS_NO_VALUES,
    NEEDS_VALUES,
    WITH_VALUES,
    WITHOUT_VALUES,
    label_keys,
    label_selector,
)
from kybern.api.validation.metadata import label_key
from kybern.api.validation.names import dns_label, dns_subdomain, is_label_value

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_WRONG_OPERATOR = "not a valid selector operator"
_WRONG_WEIGHT = "must be in the range 1-100"


def affinity(rules: Obj, path: str) -> list[FieldError]:
    """``spec.affinity`` of a pod."""
    errors: list[FieldError] = []
    node = rules.get("nodeAffinity")
    if node:
        if node.get(REQUIRED) is not None:
            errors += node_selector(node[REQUIRED], f"{path}.nodeAffinity.{REQUIRED}")
        for i, term in enumerate(node.get(PREFERRED) or ()):
            at = f"{path}.nodeAffinity.{PREFERRED}[{i}]"
            errors += _weight(term, at)
            preference = term.get("preference") or {}
            errors += node_selector_term(preference, f"{at}.preference", check_values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        held = rules.get(kind) or {}
        for i, term in enumerate(held.get(REQUIRED) or ()):
            errors += _pod_term(term, f"{path}.{kind}.{REQUIRED}[{i}]")
        for i, weighted in enumerate(held.get(PREFERRED) or ()):
            at = f"{path}.{kind}.{PREFERRED}[{i}]"
            errors += _weight(weighted, at)
            errors += _pod_term(weighted.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return errors


def _weight(term: Obj, path: str) -> list[FieldError]:
    weight = term.get("weight", 0)
    return [] if 0 < weight <= 100 else [invalid_value(f"{path}.weight", weight, _WRONG_WEIGHT)]


def node_selector(selector: Obj, path: str) -> list[FieldError]:
    """A ``NodeSelector``, in pods and in persistent volumes."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        text = "must have at least one node selector term"
        return [required(f"{path}.nodeSelectorTerms", text)]
    errors: list[FieldError] = []
    for i, term in enumerate(terms):
        errors += node_selector_term(term, f"{path}.nodeSelectorTerms[{i}]")
    return errors


def node_selector_term(term: Obj, path: str, *, check_values: bool = True) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        errors += _node_requirement(requirement, f"{path}.matchExpressions[{i}]", check_values)
    for i, requirement in enumerate(term.get("matchFields") or ()):
        errors += _field_requirement(requirement, f"{path}.matchFields[{i}]")
    return errors


def _node_requirement(requirement: Obj, path: str, check_values: bool) -> list[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    errors: list[FieldError] = []
    if operator in WITH_VALUES:
        if not values:
            errors.append(required(f"{path}.values", NEEDS_VALUES))
    elif operator in WITHOUT_VALUES:
        if values:
            errors.append(field_forbidden(f"{path}.values", NEEDS_NO_VALUES))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(f"{path}.values", text))
    else:
        errors.append(invalid_value(f"{path}.operator", operator, _WRONG_OPERATOR))
    errors += label_key(requirement.get("key", ""), f"{path}.key")
    for i, value in enumerate(values if check_values else ()):
        for message in is_label_value(value):
            errors.append(invalid_value(f"{path}.values[{i}]", value, message))
    return errors


def _field_requirement(requirement: Obj, path: str) -> list[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    errors: list[FieldError] = []
    if operator not in WITH_VALUES:
        errors.append(invalid_value(f"{path}.operator", operator, _WRONG_OPERATOR))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(f"{path}.values", text))
    key = requirement.get("key", "")
    if key != "metadata.name":
        errors.append(invalid_value(f"{path}.key", key, "not a valid field selector key"))
        return errors
    for i, value in enumerate(values):
        for message in dns_subdomain(value):
            errors.append(invalid_value(f"{path}.values[{i}]", value, message))
    return errors


def _pod_term(term: Obj, path: str) -> list[FieldError]:
    selector = term.get("labelSelector")
    errors = label_selector(selector, f"{path}.labelSelector")
    errors += label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        for message in dns_label(name):
            errors.append(invalid_value(f"{path}.namespace", name, message))
    errors += label_keys(path, term.get("matchLabelKeys"), term.get("mismatchLabelKeys"), selector)
    key = term.get("topologyKey", "")
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    return errors + label_key(key, f"{path}.topologyKey")


def tolerations(held: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, toleration in enumerate(held):
        errors += _toleration(toleration, f"{path}[{i}]")
    return errors


def _toleration(toleration: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    value, effect = toleration.get("value", ""), toleration.get("effect", "")
    if key:
        errors += label_key(key, f"{path}.key")
    elif operator != "Exists":
        text = "operator must be Exists when `key` is empty, which means "
        text += '"match all values and all keys"'
        errors.append(invalid_value(f"{path}.operator", operator, text))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(invalid_value(f"{path}.effect", effect, text))
    if operator in ("", "Equal"):
        messages = is_label_value(value)
        if messages:
            errors.append(invalid_value(f"{path}.operator", value, ";".join(messages)))
    elif operator == "Exists":
        if value:
            text = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid_value(f"{path}.operator", value, text))
    else:
        allowed: tuple[str, ...] = ("Equal", "Exists")
        if operator in ("Lt", "Gt"):
            allowed = ("Equal", "Exists", "Lt", "Gt")
        errors.append(not_supported(f"{path}.operator", operator, allowed))
    if effect and effect not in TAINT_EFFECTS:
        errors.append(not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return errors


def spread_constraints(constraints: list[Obj], path: str) -> list[FieldError]:
    """``spec.topologySpreadConstraints`` of a pod."""
    errors: list[FieldError] = []
    for i, constraint in enumerate(constraints):
        errors += _spread_constraint(constraint, constraints[i + 1 :], f"{path}[{i}]")
    return errors


def _spread_constraint(constraint: Obj, later: list[Obj], path: str) -> list[FieldError]:
    key, action = constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")
    errors = positive(constraint.get("maxSkew", 0), f"{path}.maxSkew")
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    actions = ("DoNotSchedule", "ScheduleAnyway")
    if action not in actions:
        errors.append(not_supported(f"{path}.whenUnsatisfiable", action, actions))
    for other in later:
        if (other.get("topologyKey", ""), other.get("whenUnsatisfiable", "")) == (key, action):
            at = f"{path}.{{topologyKey, whenUnsatisfiable}}"
            errors.append(duplicate(at, f"{{{key}, {action}}}"))
            break
    minimum = constraint.get("minDomains")
    if minimum is not None:
        errors += positive(minimum, f"{path}.minDomains")
        if action != "DoNotSchedule":
            text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            errors.append(invalid_value(f"{path}.minDomains", minimum, text))
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = constraint.get(name)
        if policy is not None and policy not in ("Honor", "Ignore"):
            errors.append(not_supported(f"{path}.{name}", policy, ("Honor", "Ignore")))
    selector = constraint.get("labelSelector")
    errors += label_keys(path, constraint.get("matchLabelKeys"), None, selector)
    return errors + label_selector(selector, f"{path}.labelSelector")
