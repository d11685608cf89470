"""Event."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

EVENT = Kind(
    group="",
    kind="Event",
    plural="events",
    also_served_as=("events.k8s.io/v1",),
    short_names=("ev",),
    strategy=Strategy(allow_create_on_update=True),
)
