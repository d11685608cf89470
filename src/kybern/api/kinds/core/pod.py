"""Pod."""

from kybern.api.kinds.kind import (
    CONNECT,
    CREATE_ONLY,
    PROXY,
    READ_WRITE,
    Kind,
    Subresource,
    status_of,
)
from kybern.api.kinds.strategy import Strategy

POD = Kind(
    group="",
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", "PodAttachOptions", CONNECT),
        Subresource("binding", "Binding", CREATE_ONLY),
        Subresource("ephemeralcontainers", "Pod", READ_WRITE),
        Subresource("eviction", "Eviction", CREATE_ONLY, "policy", "v1"),
        Subresource("exec", "PodExecOptions", CONNECT),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", CONNECT),
        Subresource("proxy", "PodProxyOptions", PROXY),
        Subresource("resize", "Pod", READ_WRITE),
        status_of("Pod"),
    ),
    strategy=Strategy(status=True),
)
