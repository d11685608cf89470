"""Deployment."""

from kybern.api.kinds.kind import SCALE, Kind, status_of
from kybern.api.kinds.strategy import Strategy

DEPLOYMENT = Kind(
    group="apps",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("Deployment"),
    ),
    strategy=Strategy(status=True),
)
