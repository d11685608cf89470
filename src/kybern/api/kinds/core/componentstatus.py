"""ComponentStatus, kept for old clients."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

COMPONENT_STATUS = Kind(
    group="",
    kind="ComponentStatus",
    plural="componentstatuses",
    namespaced=False,
    short_names=("cs",),
    verbs=("get", "list"),
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
    strategy=Strategy(namespaced=False),
)
