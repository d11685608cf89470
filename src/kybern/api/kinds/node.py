"""RuntimeClass."""

from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy

RUNTIME_CLASS = Kind(
    group="node.k8s.io",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    strategy=Strategy(
        namespaced=False, allow_create_on_update=True, allow_unconditional_update=False
    ),
    columns=(NAME, Column("Handler", at("handler")), AGE),
)
