"""ReplicaSet."""

from kybern.api.kinds.kind import SCALE, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

REPLICA_SET = Kind(
    group="apps",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("ReplicaSet"),
    ),
    strategy=Strategy(status=True, generation=spec_changed),
)
