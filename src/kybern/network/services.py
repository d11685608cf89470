"""Service ports: what of a Service object matters to packets.

``service_ports`` turns a Service into the ports that this node has to serve; headless and
ExternalName Services, and those that name another proxy, have none. Pure; rules are made from the
result in ``nftables/service_rules.py``.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any

from kybern.api.errors import Obj
from kybern.network.endpoints import is_ipv4

# A Service with this label is some other proxy's business (KEP-2447).
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
DEFAULT_AFFINITY_SECONDS = 10800


@dataclass(frozen=True)
class ServicePort:
    """One port of one Service, with every IPv4 address it is reached at."""

    namespace: str
    service: str
    name: str
    protocol: str
    port: int
    cluster_ip: str
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    internal_local: bool = False
    external_local: bool = False

    @property
    def identity(self) -> str:
        """``namespace/service/protocol/port name``: no two ports of a cluster share it."""
        return f"{self.namespace}/{self.service}/{self.protocol}/{self.name}"

    @property
    def outside(self) -> bool:
        """Whether anything but the cluster IP leads here."""
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)


def cluster_ip(service: Obj) -> str:
    """The Service's IPv4 cluster IP; empty if it has none or is headless."""
    spec = service.get("spec") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return next((address for address in addresses if is_ipv4(address)), "")


def is_proxied(service: Obj) -> bool:
    """Whether this proxy handles the Service at all."""
    labels = (service.get("metadata") or {}).get("labels") or {}
    external_name = (service.get("spec") or {}).get("type") == "ExternalName"
    return not external_name and PROXY_NAME_LABEL not in labels and bool(cluster_ip(service))


def service_ports(service: Obj) -> list[ServicePort]:
    """The ports of one Service object, in its order."""
    if not is_proxied(service):
        return []
    spec = service["spec"]
    shared: dict[str, Any] = {
        "namespace": service["metadata"]["namespace"],
        "service": service["metadata"]["name"],
        "cluster_ip": cluster_ip(service),
        "external_ips": tuple(ip for ip in spec.get("externalIPs") or [] if is_ipv4(ip)),
        "load_balancer_ips": _load_balancer_ips(service),
        "source_ranges": _source_ranges(spec),
        "affinity_seconds": _affinity_seconds(spec),
        "internal_local": spec.get("internalTrafficPolicy") == "Local",
        "external_local": spec.get("externalTrafficPolicy") == "Local",
    }
    return [
        ServicePort(
            name=port.get("name") or "",
            protocol=(port.get("protocol") or "TCP").lower(),
            port=port["port"],
            node_port=port.get("nodePort") or 0,
            **shared,
        )
        for port in spec.get("ports") or []
    ]


def _load_balancer_ips(service: Obj) -> tuple[str, ...]:
    """Ingress addresses whose packets arrive as they are (KEP-1860: ipMode Proxy does not)."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return tuple(
        item["ip"]
        for item in ingress
        if is_ipv4(item.get("ip") or "") and item.get("ipMode", "VIP") == "VIP"
    )


def _source_ranges(spec: Obj) -> tuple[str, ...]:
    ranges = []
    for text in spec.get("loadBalancerSourceRanges") or []:
        try:
            ranges.append(str(ipaddress.IPv4Network(text.strip(), strict=False)))
        except ValueError:
            continue
    return tuple(ranges)


def _affinity_seconds(spec: Obj) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS
