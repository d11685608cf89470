"""DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

DEVICE_CLASS = Kind(
    group="resource.k8s.io",
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    strategy=Strategy(namespaced=False, generation=spec_changed),
)

RESOURCE_CLAIM = Kind(
    group="resource.k8s.io",
    kind="ResourceClaim",
    plural="resourceclaims",
    subresources=(status_of("ResourceClaim"),),
    strategy=Strategy(status=True),
)

RESOURCE_CLAIM_TEMPLATE = Kind(
    group="resource.k8s.io",
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
)

RESOURCE_SLICE = Kind(
    group="resource.k8s.io",
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    strategy=Strategy(namespaced=False, generation=spec_changed),
)
