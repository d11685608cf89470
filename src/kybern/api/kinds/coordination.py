"""Lease."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

LEASE = Kind(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    strategy=Strategy(allow_create_on_update=True, allow_unconditional_update=False),
)
