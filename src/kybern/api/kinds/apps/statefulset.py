"""StatefulSet."""

from kybern.api.kinds.kind import SCALE, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

STATEFUL_SET = Kind(
    group="apps",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("StatefulSet"),
    ),
    strategy=Strategy(status=True, generation=spec_changed),
)
