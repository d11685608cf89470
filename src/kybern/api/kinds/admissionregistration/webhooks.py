"""MutatingWebhookConfiguration, ValidatingWebhookConfiguration."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

MUTATING_WEBHOOK_CONFIGURATION = Kind(
    group="admissionregistration.k8s.io",
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    strategy=Strategy(namespaced=False, allow_unconditional_update=False),
)

VALIDATING_WEBHOOK_CONFIGURATION = Kind(
    group="admissionregistration.k8s.io",
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    namespaced=False,
    categories=("api-extensions",),
    strategy=Strategy(namespaced=False, allow_unconditional_update=False),
)
