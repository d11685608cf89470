"""ServiceCIDR."""

from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy

SERVICE_CIDR = Kind(
    group="networking.k8s.io",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    subresources=(status_of("ServiceCIDR"),),
    strategy=Strategy(namespaced=False, status=True),
    columns=(
        NAME,
        Column("CIDRs", lambda o, now: ",".join(at("spec", "cidrs", default=())(o, now))),
        AGE,
    ),
)
