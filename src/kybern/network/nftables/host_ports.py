"""Host ports of this node's pods, and the node addresses, as fragments of the table. Pure."""

from collections.abc import Iterable

from kybern.api.errors import Obj
from kybern.network.endpoints import is_ipv4
from kybern.network.nftables.ruleset import Fragment
from kybern.network.nftables.table import HAIRPINS, HOST_PORTS, HOST_PORTS_AT, NODE_IPS

_ANY_ADDRESS = ("", "0.0.0.0")


def host_port_fragment(pod: Obj) -> Fragment:
    """What leads from the node's ports to one pod; empty once it has no address or has ended."""
    fragment = Fragment()
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    address = status.get("podIP") or ""
    ended = status.get("phase") in ("Succeeded", "Failed")
    if spec.get("hostNetwork") or ended or not is_ipv4(address):
        return fragment
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                _add(fragment, port, address)
    return fragment


def _add(fragment: Fragment, port: Obj, address: str) -> None:
    protocol = (port.get("protocol") or "TCP").lower()
    key = f"{protocol} . {port['hostPort']}"
    target = f"{address} . {port['containerPort']}"
    host_ip = port.get("hostIP") or ""
    if host_ip in _ANY_ADDRESS:
        fragment.elements[HOST_PORTS, key] = target
    elif is_ipv4(host_ip):
        fragment.elements[HOST_PORTS_AT, f"{host_ip} . {key}"] = target
    fragment.elements[HAIRPINS, f"{address} . {address}"] = None


def node_addresses_fragment(nodes: Iterable[Obj]) -> Fragment:
    """Every node's addresses: pods reach nodes with their own address, without masquerade."""
    fragment = Fragment()
    for node in nodes:
        for item in (node.get("status") or {}).get("addresses") or []:
            if item.get("type") in ("InternalIP", "ExternalIP") and is_ipv4(item["address"]):
                fragment.elements[NODE_IPS, item["address"]] = None
    return fragment


def udp_host_ports(pod: Obj) -> dict[int, set[tuple[str, int]]]:
    """Where UDP packets to the node's ports go, for the clean-up of tracked flows."""
    found: dict[int, set[tuple[str, int]]] = {}
    for (name, key), target in host_port_fragment(pod).elements.items():
        if name not in (HOST_PORTS, HOST_PORTS_AT) or target is None:
            continue
        protocol, port = key.split(" . ")[-2:]
        if protocol == "udp":
            address, target_port = target.split(" . ")
            found.setdefault(int(port), set()).add((address, int(target_port)))
    return found
