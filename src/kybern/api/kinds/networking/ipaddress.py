"""IPAddress."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

IP_ADDRESS = Kind(
    group="networking.k8s.io",
    kind="IPAddress",
    plural="ipaddresses",
    namespaced=False,
    short_names=("ip",),
    strategy=Strategy(namespaced=False),
)
