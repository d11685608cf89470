"""Endpoints of a Service as this node sees them, from EndpointSlices.

``collect`` merges a Service's slices, ``choose`` picks what traffic may go to: ready endpoints,
narrowed by topology hints, or serving ones that terminate where nothing is ready (KEP-1669,
KEP-2433, KEP-3015). Pure; the service rules are the caller.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kybern.api.errors import Obj


class Endpoint(NamedTuple):
    """One address and port behind a Service port, with its conditions resolved to booleans."""

    address: str
    port: int
    ready: bool
    serving: bool
    terminating: bool
    local: bool
    zones: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NodeView:
    """The node that chooses: its name, its zone."""

    name: str
    zone: str = ""


class Choice(NamedTuple):
    """What a Service port's traffic may go to: under policy Cluster, under policy Local.

    ``exists`` is false where no node of the cluster has a usable endpoint.
    """

    cluster: list[Endpoint]
    local: list[Endpoint]
    exists: bool


NO_ENDPOINTS = Choice([], [], False)


def collect(slices: Iterable[Obj], node_name: str) -> dict[str, list[Endpoint]]:
    """IPv4 endpoints of all slices by port name, sorted; of duplicates a ready one is kept."""
    found: dict[str, dict[tuple[str, int], Endpoint]] = {}
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") != "IPv4":
            continue
        for port in endpoint_slice.get("ports") or []:
            number = port.get("port")
            if not number:
                continue
            named = found.setdefault(port.get("name") or "", {})
            for item in endpoint_slice.get("endpoints") or []:
                endpoint = _endpoint(item, number, node_name)
                if endpoint is None:
                    continue
                at = (endpoint.address, number)
                if at not in named or (endpoint.ready and not named[at].ready):
                    named[at] = endpoint
    return {name: [items[at] for at in sorted(items)] for name, items in found.items()}


def _endpoint(item: Obj, port: int, node_name: str) -> Endpoint | None:
    addresses = item.get("addresses") or []
    if not addresses or not is_ipv4(addresses[0]):
        return None
    conditions = item.get("conditions") or {}
    ready = _condition(conditions, "ready", True)
    hints = item.get("hints") or {}
    return Endpoint(
        addresses[0],
        port,
        ready,
        _condition(conditions, "serving", ready),
        _condition(conditions, "terminating", False),
        item.get("nodeName") == node_name,
        frozenset(hint["name"] for hint in hints.get("forZones") or []),
        frozenset(hint["name"] for hint in hints.get("forNodes") or []),
    )


def _condition(conditions: dict[str, Any], name: str, default: bool) -> bool:
    value = conditions.get(name)
    return default if value is None else bool(value)


def is_ipv4(text: str) -> bool:
    """Whether ``text`` is an IPv4 address; nothing else may reach a rule."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def choose(endpoints: Sequence[Endpoint], node: NodeView) -> Choice:
    """The usable endpoints under either traffic policy, as upstream's proxies categorize them."""
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    fading = [endpoint for endpoint in endpoints if endpoint.serving and endpoint.terminating]
    local_ready = [endpoint for endpoint in ready if endpoint.local]
    local = local_ready or [endpoint for endpoint in fading if endpoint.local]
    cluster = _nearest(ready, node) if ready else fading
    return Choice(cluster, local, bool(ready or fading))


def _nearest(ready: list[Endpoint], node: NodeView) -> list[Endpoint]:
    """Topology hints count only where every ready endpoint has them and some are for this node."""
    if all(endpoint.nodes for endpoint in ready):
        same_node = [endpoint for endpoint in ready if node.name in endpoint.nodes]
        if same_node:
            return same_node
    if all(endpoint.zones for endpoint in ready):
        same_zone = [endpoint for endpoint in ready if node.zone in endpoint.zones]
        if same_zone:
            return same_zone
    return ready
