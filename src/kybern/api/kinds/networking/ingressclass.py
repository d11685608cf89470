"""IngressClass."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy, spec_changed

INGRESS_CLASS = Kind(
    group="networking.k8s.io",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    strategy=Strategy(namespaced=False, generation=spec_changed),
)
