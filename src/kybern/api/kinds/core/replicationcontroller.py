"""ReplicationController."""

from kybern.api.kinds.kind import SCALE, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

REPLICATION_CONTROLLER = Kind(
    group="",
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("ReplicationController"),
    ),
    resource_prefix="/registry/controllers",
    strategy=Strategy(status=True, generation=spec_changed, default_propagation="Orphan"),
)
