"""Binding."""

from kybern.api.kinds.kind import CREATE_ONLY, Kind

BINDING = Kind(
    group="",
    kind="Binding",
    plural="bindings",
    verbs=CREATE_ONLY,
)
