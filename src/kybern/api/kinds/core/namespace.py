"""Namespace."""

from kybern.api.kinds.kind import Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy

NAMESPACE = Kind(
    group="",
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(
        Subresource("finalize", "Namespace", ("update",)),
        status_of("Namespace"),
    ),
    strategy=Strategy(namespaced=False, status=True),
)
