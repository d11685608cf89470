"""Admission policies in CEL and their bindings."""

from kybern.api.defaults.admission import default_match_resources
from kybern.api.errors import FieldError, Obj, not_supported, required
from kybern.api.kinds.columns import AGE, NAME, UNSET, at, label_selector, length
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.webhooks import rule_with_operations


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


_ACTIONS = ("Audit", "Deny", "Warn")


def _check_policy(policy: Obj, rules: str) -> list[FieldError]:
    spec = policy.get("spec") or {}
    errors = _check_match(spec.get("matchConstraints"))
    failure = spec.get("failurePolicy")
    if failure not in ("Fail", "Ignore"):
        errors.append(not_supported("spec.failurePolicy", failure or "", ("Fail", "Ignore")))
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
    errors: list[FieldError] = []
    if not match.get("resourceRules"):
        errors.append(required("spec.matchConstraints.resourceRules"))
    for group in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(group) or ()):
            errors += rule_with_operations(rule, f"spec.matchConstraints.{group}[{i}]")
    return errors


def _check_binding(binding: Obj, actions: bool) -> list[FieldError]:
    spec = binding.get("spec") or {}
    errors = [] if spec.get("policyName") else [required("spec.policyName")]
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
