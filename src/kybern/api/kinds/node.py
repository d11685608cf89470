"""RuntimeClass."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

RUNTIME_CLASS = Kind(
    group="node.k8s.io",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    strategy=Strategy(
        namespaced=False, allow_create_on_update=True, allow_unconditional_update=False
    ),
)
