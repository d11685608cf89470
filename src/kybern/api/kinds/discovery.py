"""EndpointSlice."""

from kybern.api.kinds.kind import Kind

ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io",
    kind="EndpointSlice",
    plural="endpointslices",
)
