"""DaemonSet."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

DAEMON_SET = Kind(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    subresources=(status_of("DaemonSet"),),
    strategy=Strategy(status=True),
)
