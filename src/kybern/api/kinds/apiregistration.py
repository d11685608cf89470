"""APIService."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

API_SERVICE = Kind(
    group="apiregistration.k8s.io",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    categories=("api-extensions",),
    subresources=(status_of("APIService"),),
    resource_prefix="/registry/apiregistration.k8s.io/apiservices",
    strategy=Strategy(namespaced=False, status=True, allow_unconditional_update=False),
)
