"""Endpoints, the older form of endpoint slices."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy

_SHOWN = 3


def _default(endpoints: Obj) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def _addresses(endpoints: Obj, now: float) -> str:
    subsets = endpoints.get("subsets")
    if not subsets:
        return NONE
    found: list[str] = []
    for subset in subsets:
        ips = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if not ports:
            found += ips
        for port in ports or ():
            number = port.get("port", 0)
            found += [f"[{ip}]:{number}" if ":" in ip else f"{ip}:{number}" for ip in ips]
    shown = ",".join(found[:_SHOWN])
    return f"{shown} + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else shown


ENDPOINTS = Kind(
    group="",
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    resource_prefix="/registry/services/endpoints",
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    strategy=Strategy(default=_default, allow_create_on_update=True),
    columns=(NAME, Column("Endpoints", _addresses), AGE),
)
