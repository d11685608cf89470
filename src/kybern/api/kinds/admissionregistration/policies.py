"""Admission policies in CEL and their bindings."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

MUTATING_ADMISSION_POLICY = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    hashed_as="admissionregistration.k8s.io/v1beta1",
    strategy=Strategy(namespaced=False, generation=spec_changed, allow_unconditional_update=False),
)

MUTATING_ADMISSION_POLICY_BINDING = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingAdmissionPolicyBinding",
    plural="mutatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    hashed_as="admissionregistration.k8s.io/v1beta1",
    strategy=Strategy(namespaced=False, generation=spec_changed, allow_unconditional_update=False),
)

VALIDATING_ADMISSION_POLICY = Kind(
    group="admissionregistration.k8s.io",
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    subresources=(status_of("ValidatingAdmissionPolicy"),),
    strategy=Strategy(
        namespaced=False, status=True, generation=spec_changed, allow_unconditional_update=False
    ),
)

VALIDATING_ADMISSION_POLICY_BINDING = Kind(
    group="admissionregistration.k8s.io",
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    strategy=Strategy(namespaced=False, generation=spec_changed, allow_unconditional_update=False),
)
