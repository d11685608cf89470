"""Service."""

from kybern.api.kinds.kind import PROXY, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy

SERVICE = Kind(
    group="",
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    subresources=(
        Subresource("proxy", "ServiceProxyOptions", PROXY),
        status_of("Service"),
    ),
    resource_prefix="/registry/services/specs",
    strategy=Strategy(status=True, allow_create_on_update=True),
)
