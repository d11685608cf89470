"""Endpoints, the older form of endpoint slices."""

from kybern.api.errors import FieldError, Obj, required
from kybern.api.kinds.columns import AGE, NAME, NONE
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.addresses import ip, non_special_ip
from kybern.api.validation.fields import dns_label, named, one_of, port_number, qualified_name
from kybern.api.validation.names import dns_subdomain

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


_PROTOCOLS = ("SCTP", "TCP", "UDP")


def _check(endpoints: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, subset in enumerate(endpoints.get("subsets") or ()):
        at = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            text = "must specify `addresses` or `notReadyAddresses`"
            errors.append(required(at, text))
        for group in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(group) or ()):
                errors += _check_address(address, f"{at}.{group}[{j}]")
        ports = subset.get("ports") or ()
        for j, port in enumerate(ports):
            errors += _check_port(port, len(ports) > 1, f"{at}.ports[{j}]")
    return errors


def _check_address(address: Obj, path: str) -> list[FieldError]:
    text = address.get("ip", "")
    errors = ip(text, f"{path}.ip")
    if address.get("hostname"):
        errors += dns_label(address["hostname"], f"{path}.hostname")
    node = address.get("nodeName")
    if node is not None:
        errors += named(dns_subdomain(node), node, f"{path}.nodeName")
    return errors + non_special_ip(text, f"{path}.ip", "must be a valid IP address")


def _check_port(port: Obj, needs_name: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if port.get("name"):
        errors += dns_label(port["name"], f"{path}.name")
    elif needs_name:
        errors.append(required(f"{path}.name"))
    errors += port_number(port.get("port", 0), f"{path}.port")
    errors += one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol")
    if port.get("appProtocol") is not None:
        errors += qualified_name(port["appProtocol"], f"{path}.appProtocol")
    return errors


ENDPOINTS = Kind(
    group="",
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    resource_prefix="/registry/services/endpoints",
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    strategy=Strategy(
        metadata_checks=2, check=_check, default=_default, allow_create_on_update=True
    ),
    columns=(NAME, Column("Endpoints", _addresses), AGE),
)
