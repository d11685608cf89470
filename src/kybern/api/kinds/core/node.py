"""Node."""

from kybern.api.kinds.kind import PROXY, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy

NODE = Kind(
    group="",
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    subresources=(
        Subresource("proxy", "NodeProxyOptions", PROXY),
        status_of("Node"),
    ),
    resource_prefix="/registry/minions",
    strategy=Strategy(namespaced=False, status=True),
)
