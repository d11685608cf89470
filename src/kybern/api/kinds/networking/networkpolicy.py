"""NetworkPolicy."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy, spec_changed

NETWORK_POLICY = Kind(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    strategy=Strategy(generation=spec_changed),
)
