"""CustomResourceDefinition."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

CUSTOM_RESOURCE_DEFINITION = Kind(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=(
        "crd",
        "crds",
    ),
    categories=("api-extensions",),
    subresources=(status_of("CustomResourceDefinition"),),
    resource_prefix="/registry/apiextensions.k8s.io/customresourcedefinitions",
    hashed_as="apiextensions.k8s.io/v1beta1",
    strategy=Strategy(
        namespaced=False, status=True, generation=spec_changed, allow_unconditional_update=False
    ),
)
