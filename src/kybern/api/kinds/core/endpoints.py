"""Endpoints."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

ENDPOINTS = Kind(
    group="",
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    resource_prefix="/registry/services/endpoints",
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    strategy=Strategy(allow_create_on_update=True),
)
