"""LimitRange."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

LIMIT_RANGE = Kind(
    group="",
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    strategy=Strategy(allow_create_on_update=True),
)
