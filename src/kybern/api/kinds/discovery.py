"""EndpointSlice."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.addresses import canonical_ip, ip, non_special_ip, parse_ip
from kybern.api.validation.fields import dns_label, named, one_of, qualified_name
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import dns_subdomain, is_dns1123_subdomain, is_label_value

_SHOWN = 3
_META = ("endpoints", "ports", "addressType")


def _default(endpoint_slice: Obj) -> None:
    for port in endpoint_slice.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        if port.get("protocol") is None:
            port["protocol"] = "TCP"


def _changed(new: Obj, old: Obj) -> bool:
    """Labels count as well: consumers read the Service's name from them."""
    if any(new.get(name) != old.get(name) for name in _META):
        return True
    after, before = new["metadata"], old["metadata"]
    return (after.get("labels") or {}) != (before.get("labels") or {})


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


_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_HINTS = 8


def _check(endpoint_slice: Obj) -> list[FieldError]:
    kind = endpoint_slice.get("addressType", "")
    errors = one_of(kind, _ADDRESS_TYPES, "addressType")
    errors += _check_ports(endpoint_slice.get("ports") or [])
    endpoints = endpoint_slice.get("endpoints") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        return [*errors, too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
    for i, endpoint in enumerate(endpoints):
        errors += _check_endpoint(endpoint, kind, f"endpoints[{i}]")
    return errors


def _check_ports(ports: list[Obj]) -> list[FieldError]:
    if len(ports) > _MAX_PORTS:
        return [too_many("ports", len(ports), _MAX_PORTS)]
    errors: list[FieldError] = []
    names: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"ports[{i}]", port.get("name") or ""
        if name:
            errors += dns_label(name, f"{at}.name")
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            errors.append(required(f"{at}.protocol"))
        elif protocol not in _PROTOCOLS:
            errors.append(not_supported(f"{at}.protocol", protocol, _PROTOCOLS))
        if port.get("appProtocol") is not None:
            errors += qualified_name(port["appProtocol"], f"{at}.appProtocol")
    return errors


def _check_endpoint(endpoint: Obj, kind: str, path: str) -> list[FieldError]:
    at, addresses = f"{path}.addresses", endpoint.get("addresses") or []
    errors: list[FieldError] = []
    if not addresses:
        errors.append(required(at, "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        errors.append(too_many(at, len(addresses), _MAX_ADDRESSES))
    for i, address in enumerate(addresses):
        errors += _check_address(address, kind, at, f"{at}[{i}]")
    node = endpoint.get("nodeName")
    if node is not None:
        errors += named(dns_subdomain(node), node, f"{path}.nodeName")
    if endpoint.get("hostname") is not None:
        errors += dns_label(endpoint["hostname"], f"{path}.hostname")
    hints = endpoint.get("hints") or {}
    return errors + _check_hints(hints, f"{path}.hints")


def _check_address(address: str, kind: str, group: str, path: str) -> list[FieldError]:
    if kind == "FQDN":
        return _check_domain(address.removesuffix("."), path)
    if kind not in _ADDRESS_TYPES:
        return []
    errors = ip(address, path) if kind == "IPv4" else canonical_ip(address, path)
    if errors:
        return errors
    parsed = parse_ip(address)
    if parsed is not None and f"IPv{parsed.version}" != kind:
        article = f"must be an {kind} address"
        errors.append(invalid_value(group, address, article))
    return errors + non_special_ip(address, path)


def _check_domain(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    messages = is_dns1123_subdomain(name)
    if messages:
        return [invalid_value(path, name, ",".join(messages))]
    if "." not in name:
        text = "should be a domain with at least two segments separated by dots"
        return [invalid_value(path, name, text)]
    return []


def _check_hints(hints: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for group, check in (("forZones", is_label_value), ("forNodes", is_dns1123_subdomain)):
        entries = hints.get(group) or []
        if len(entries) > _MAX_HINTS:
            errors.append(too_many(f"{path}.{group}", len(entries), _MAX_HINTS))
            continue
        seen: set[str] = set()
        for i, entry in enumerate(entries):
            at, name = f"{path}.{group}[{i}].name", entry.get("name", "")
            if name in seen:
                errors.append(duplicate(at, name))
            seen.add(name)
            errors += named(check(name), name, at)
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    return immutable(new.get("addressType"), old.get("addressType"), "addressType")


ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io",
    kind="EndpointSlice",
    plural="endpointslices",
    strategy=Strategy(
        check=_check, check_update=_check_update, default=_default, generation=_changed
    ),
    columns=COLUMNS,
)
