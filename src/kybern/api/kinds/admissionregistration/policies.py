"""Admission policies in CEL and their bindings."""

from kybern.api.defaults.admission import default_match_resources
from kybern.api.errors import FieldError, Obj, field_forbidden, not_supported, required
from kybern.api.kinds.columns import AGE, NAME, UNSET, at, label_selector, length
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.fields import dns_subdomain
from kybern.api.validation.label_selectors import label_selector as label_selector_of
from kybern.api.validation.webhooks import match_conditions, rule_with_operations


def _default_policy(policy: Obj) -> None:
    spec = policy.setdefault("spec", {})
    if spec.get("failurePolicy") is None:
        spec["failurePolicy"] = "Fail"
    if spec.get("matchConstraints") is not None:
        default_match_resources(spec["matchConstraints"])


def _default_binding(binding: Obj) -> None:
    match = (binding.get("spec") or {}).get("matchResources")
    if match is not None:
        default_match_resources(match)


def _param_kind(policy: Obj, now: float) -> str:
    kind = (policy.get("spec") or {}).get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def _param_ref(binding: Obj, now: float) -> str:
    reference = (binding.get("spec") or {}).get("paramRef")
    if not reference:
        return UNSET
    if reference.get("name"):
        return f"{reference.get('namespace') or '*'}/{reference['name']}"
    selector = reference.get("selector")
    return UNSET if selector is None else label_selector(selector)


def _policy_columns(rules: str, shown: str) -> tuple[Column, ...]:
    count = Column(shown, length("spec", rules), "integer")
    return (NAME, count, Column("ParamKind", _param_kind), AGE)


BINDING_COLUMNS = (
    NAME,
    Column("PolicyName", at("spec", "policyName")),
    Column("ParamRef", _param_ref),
    AGE,
)


_MATCH_POLICIES = ("Equivalent", "Exact")
_ACTIONS = ("Audit", "Deny", "Warn")


def _check_policy(policy: Obj, rules: str) -> list[FieldError]:
    spec = policy.get("spec") or {}
    errors = _check_match(spec.get("matchConstraints"))
    failure = spec.get("failurePolicy")
    if failure not in ("Fail", "Ignore"):
        errors.append(not_supported("spec.failurePolicy", failure or "", ("Fail", "Ignore")))
    errors += match_conditions(spec.get("matchConditions") or [], "spec.matchConditions")
    if rules == "mutations":
        again = spec.get("reinvocationPolicy")
        if again not in ("IfNeeded", "Never"):
            at = "spec.reinvocationPolicy"
            errors.append(not_supported(at, again or "", ("IfNeeded", "Never")))
    kind = spec.get("paramKind")
    if kind is not None:
        fields = ("apiVersion", "kind")
        errors += [required(f"spec.paramKind.{f}") for f in fields if not kind.get(f)]
    if rules == "mutations":
        if not spec.get(rules):
            errors.append(required("spec.mutations", "mutations must contain at least one item"))
    elif not spec.get("validations") and not spec.get("auditAnnotations"):
        text = "validations or auditAnnotations must contain at least one item"
        errors += [required(f"spec.{f}", text) for f in ("validations", "auditAnnotations")]
    for i, rule in enumerate(spec.get("validations") or ()):
        if not (rule.get("expression") or "").strip():
            text = "expression is not specified"
            errors.append(required(f"spec.validations[{i}].expression", text))
    return errors


def _check_match(match: Obj | None) -> list[FieldError]:
    if match is None:
        return [required("spec.matchConstraints")]
    path = "spec.matchConstraints"
    errors = [] if match.get("resourceRules") else [required(f"{path}.resourceRules")]
    return errors + _check_selection(match, path)


def _check_selection(match: Obj, path: str) -> list[FieldError]:
    """The parts of a match that a policy and its binding have in common."""
    errors: list[FieldError] = []
    for name in ("namespaceSelector", "objectSelector"):
        errors += label_selector_of(match.get(name), f"{path}.{name}")
    for group in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(group) or ()):
            errors += rule_with_operations(rule, f"{path}.{group}[{i}]")
    policy = match.get("matchPolicy")
    if policy is not None and policy not in _MATCH_POLICIES:
        errors.append(not_supported(f"{path}.matchPolicy", policy, _MATCH_POLICIES))
    return errors


def _check_param_ref(reference: Obj | None, path: str) -> list[FieldError]:
    """Parameters are named or selected, and it is said what their absence means."""
    if reference is None:
        return []
    name, selector = reference.get("name", ""), reference.get("selector")
    errors: list[FieldError] = []
    if name and selector is not None:
        text = "name and selector are mutually exclusive"
        errors += [field_forbidden(f"{path}.{field}", text) for field in ("name", "selector")]
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    errors += label_selector_of(selector, f"{path}.selector")
    action, at = reference.get("parameterNotFoundAction"), f"{path}.parameterNotFoundAction"
    if action is None:
        errors.append(required(at))
    elif action not in ("Allow", "Deny"):
        errors.append(not_supported(at, action, ("Deny", "Allow")))
    return errors


def _check_binding(binding: Obj, actions: bool) -> list[FieldError]:
    spec = binding.get("spec") or {}
    name = spec.get("policyName", "")
    errors = dns_subdomain(name, "spec.policyName") if name else [required("spec.policyName")]
    errors += _check_param_ref(spec.get("paramRef"), "spec.paramRef")
    errors += _check_selection(spec.get("matchResources") or {}, "spec.matchResources")
    held = spec.get("validationActions") or []
    if actions and not held:
        text = "at least one validation action is required"
        errors.append(required("spec.validationActions", text))
    for i, action in enumerate(held):
        if action not in _ACTIONS:
            errors.append(not_supported(f"spec.validationActions[{i}]", action, _ACTIONS))
    return errors


MUTATING_ADMISSION_POLICY = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    hashed_as="admissionregistration.k8s.io/v1beta1",
    strategy=Strategy(
        check=lambda o: _check_policy(o, "mutations"),
        default=_default_policy,
        namespaced=False,
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=_policy_columns("mutations", "Mutations"),
)

MUTATING_ADMISSION_POLICY_BINDING = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingAdmissionPolicyBinding",
    plural="mutatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    hashed_as="admissionregistration.k8s.io/v1beta1",
    strategy=Strategy(
        check=lambda o: _check_binding(o, False),
        default=_default_binding,
        namespaced=False,
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=BINDING_COLUMNS,
)

VALIDATING_ADMISSION_POLICY = Kind(
    group="admissionregistration.k8s.io",
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    subresources=(status_of("ValidatingAdmissionPolicy"),),
    strategy=Strategy(
        check=lambda o: _check_policy(o, "validations"),
        default=_default_policy,
        namespaced=False,
        status=True,
        resets={"status": (("metadata",), ("spec",))},
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=_policy_columns("validations", "Validations"),
)

VALIDATING_ADMISSION_POLICY_BINDING = Kind(
    group="admissionregistration.k8s.io",
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    strategy=Strategy(
        check=lambda o: _check_binding(o, True),
        default=_default_binding,
        namespaced=False,
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=BINDING_COLUMNS,
)
