"""Admission policies in CEL and their bindings."""

from kybern.api.defaults.admission import default_match_resources
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, UNSET, at, label_selector, length
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.admission_policies import (
    mutating_policy,
    policy_binding,
    policy_status,
    validating_policy,
)


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


def _of_alpha(kind: str) -> dict[str, str]:
    text = f"admissionregistration.k8s.io/v1alpha1 {kind} is deprecated in v1.35+, "
    return {"v1alpha1": text + "unavailable in v1.38+"}


MUTATING_ADMISSION_POLICY = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    versions=("v1", "v1beta1", "v1alpha1"),
    namespaced=False,
    deprecations=_of_alpha("MutatingAdmissionPolicy"),
    categories=("api-extensions",),
    hashed_as="admissionregistration.k8s.io/v1beta1",
    strategy=Strategy(
        any_finalizer=True,
        check=mutating_policy,
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
    versions=("v1", "v1beta1", "v1alpha1"),
    namespaced=False,
    deprecations=_of_alpha("MutatingAdmissionPolicyBinding"),
    categories=("api-extensions",),
    hashed_as="admissionregistration.k8s.io/v1beta1",
    strategy=Strategy(
        any_finalizer=True,
        check=lambda o: policy_binding(o, mutating=True),
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
        any_finalizer=True,
        check=validating_policy,
        check_status=policy_status,
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
        any_finalizer=True,
        check=lambda o: policy_binding(o, mutating=False),
        default=_default_binding,
        namespaced=False,
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=BINDING_COLUMNS,
)
