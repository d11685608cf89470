"""EndpointSlice."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy

_SHOWN = 3
_META = ("endpoints", "ports", "addressType")


def _default(endpoint_slice: Obj) -> None:
    for port in endpoint_slice.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        if port.get("protocol") is None:
            port["protocol"] = "TCP"


def _changed(new: Obj, old: Obj) -> bool:
    """Labels and annotations count as well: consumers read services' names from them."""
    if any(new.get(name) != old.get(name) for name in _META):
        return True
    after, before = new["metadata"], old["metadata"]
    return any((after.get(f) or {}) != (before.get(f) or {}) for f in ("labels", "annotations"))


def _first(shown: list[str]) -> str:
    text = ",".join(shown[:_SHOWN])
    if len(shown) > _SHOWN:
        return f"{text} + {len(shown) - _SHOWN} more..."
    return text or UNSET


def _ports(endpoint_slice: Obj, now: float) -> str:
    shown = []
    for port in endpoint_slice.get("ports") or ():
        number = port.get("port")
        shown.append(str(number) if number is not None else port.get("name", "*"))
    return _first(shown)


def _endpoints(endpoint_slice: Obj, now: float) -> str:
    endpoints = endpoint_slice.get("endpoints") or ()
    return _first([address for e in endpoints for address in e.get("addresses") or ()])


COLUMNS = (
    NAME,
    Column("AddressType", at("addressType")),
    Column("Ports", _ports),
    Column("Endpoints", _endpoints),
    AGE,
)


ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io",
    kind="EndpointSlice",
    plural="endpointslices",
    strategy=Strategy(default=_default, generation=_changed),
    columns=COLUMNS,
)
