"""PriorityClass."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

PRIORITY_CLASS = Kind(
    group="scheduling.k8s.io",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    short_names=("pc",),
    strategy=Strategy(namespaced=False),
)
