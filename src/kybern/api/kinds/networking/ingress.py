"""Ingress."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

INGRESS = Kind(
    group="networking.k8s.io",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    subresources=(status_of("Ingress"),),
    resource_prefix="/registry/ingress",
    strategy=Strategy(status=True, generation=spec_changed),
)
