"""What the zone looks up, from informers: Services, EndpointSlices and Namespaces by index."""

import ipaddress
from collections.abc import Iterator

from kybern.api.errors import Obj
from kybern.api.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from kybern.client.informer import Informers
from kybern.dns.zone import EndpointRecord, Port, ServiceRecord

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_HEADLESS = "None"


class InformerDirectory:
    """A :class:`kybern.dns.zone.Directory` over one component's informers."""

    def __init__(self, informers: Informers) -> None:
        self._namespaces = informers.informer(NAMESPACES)
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(ENDPOINT_SLICES)
        self._services.add_index("address", cluster_ips)
        self._slices.add_index("service", _service_of)
        self._slices.add_index("address", _addresses_of)

    def has_namespace(self, name: str) -> bool:
        return self._namespaces.get(name) is not None

    def service(self, namespace: str, name: str) -> ServiceRecord | None:
        obj = self._services.get(f"{namespace}/{name}")
        return service_record(obj) if obj else None

    def endpoints(self, namespace: str, name: str) -> list[EndpointRecord]:
        slices = self._slices.by_index("service", f"{namespace}/{name}")
        return [record for item in slices for record in endpoint_records(item)]

    def service_at(self, address: str) -> ServiceRecord | None:
        found = self._services.by_index("address", address)
        return service_record(found[0]) if found else None

    def endpoints_at(self, address: str) -> list[tuple[str, str, str]]:
        names: dict[tuple[str, str, str], None] = {}
        for item in self._slices.by_index("address", address):
            service = item["metadata"]["labels"].get(_SERVICE_NAME_LABEL)
            for record in endpoint_records(item):
                if service and record.address == address:
                    names[record.label, service, item["metadata"]["namespace"]] = None
        return list(names)


def cluster_ips(service: Obj) -> list[str]:
    """A Service's cluster IPs; none if it is headless."""
    spec = service.get("spec") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return [address for address in addresses if address and address != _HEADLESS]


def service_record(service: Obj) -> ServiceRecord:
    """A Service object as DNS sees it."""
    spec, meta = service.get("spec") or {}, service["metadata"]
    external = spec.get("externalName") or "" if spec.get("type") == "ExternalName" else ""
    return ServiceRecord(
        meta["namespace"],
        meta["name"],
        () if external else tuple(cluster_ips(service)),
        tuple(_port(port) for port in spec.get("ports") or []),
        external,
    )


def endpoint_records(endpoint_slice: Obj) -> Iterator[EndpointRecord]:
    """The ready endpoints of one slice; a missing condition means ready."""
    ports = tuple(_port(port) for port in endpoint_slice.get("ports") or [] if port.get("port"))
    for endpoint in endpoint_slice.get("endpoints") or []:
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for address in endpoint.get("addresses") or []:
            label = endpoint.get("hostname") or _dashed(address)
            yield EndpointRecord(label.lower(), address, ports)


def _port(port: Obj) -> Port:
    return Port(port.get("name") or "", (port.get("protocol") or "TCP").lower(), port["port"])


def _dashed(address: str) -> str:
    """The label of an endpoint without a hostname: its address, dots and colons as dashes."""
    return ipaddress.ip_address(address).compressed.replace(".", "-").replace(":", "-")


def _service_of(endpoint_slice: Obj) -> list[str]:
    meta = endpoint_slice["metadata"]
    name = (meta.get("labels") or {}).get(_SERVICE_NAME_LABEL)
    return [f"{meta['namespace']}/{name}"] if name else []


def _addresses_of(endpoint_slice: Obj) -> list[str]:
    """Every address of a slice that belongs to a Service, once."""
    if not _service_of(endpoint_slice):
        return []
    endpoints = endpoint_slice.get("endpoints") or []
    return list(dict.fromkeys(text for item in endpoints for text in item.get("addresses") or []))
