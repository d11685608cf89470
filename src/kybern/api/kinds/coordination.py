"""Lease."""

from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy

LEASE = Kind(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    strategy=Strategy(allow_create_on_update=True, allow_unconditional_update=False),
    columns=(NAME, Column("Holder", at("spec", "holderIdentity")), AGE),
)
