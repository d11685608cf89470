"""Routes to other nodes' pods: one host route per pod CIDR by way of the node's address.

Every route of ours carries a protocol number of its own in the kernel, so what is no longer wanted
can be told from what others have set. Works where nodes share a link; nodes that do not would need
an overlay, whose place is beside this file. Blocking functions: callers use a worker thread.
"""

import errno
import ipaddress
import logging
import socket
from collections.abc import Iterable
from typing import NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kybern.api.errors import Obj
from kybern.network.endpoints import is_ipv4

logger = logging.getLogger(__name__)

PROTOCOL = 121
_MAIN_TABLE = 254
_DEFAULT_MTU = 1500


class Route(NamedTuple):
    """To a network, by a neighbour; without one, into the loopback device from ``source``."""

    destination: str
    gateway: str = ""
    source: str = ""


def node_address(node: Obj) -> str:
    """A Node's internal IPv4 address, "" if it has none."""
    for item in (node.get("status") or {}).get("addresses") or []:
        if item.get("type") == "InternalIP" and is_ipv4(item["address"]):
            return item["address"]
    return ""


def pod_cidr(node: Obj) -> str:
    """A Node's IPv4 pod CIDR, "" while it has none."""
    spec = node.get("spec") or {}
    for text in spec.get("podCIDRs") or [spec.get("podCIDR") or ""]:
        try:
            return str(ipaddress.IPv4Network(text))
        except ValueError:
            continue
    return ""


def routes_to_pods(nodes: Iterable[Obj], own_name: str) -> list[Route]:
    """The routes to the pods of all nodes but this one."""
    wanted = []
    for node in nodes:
        cidr, address = pod_cidr(node), node_address(node)
        if node["metadata"]["name"] != own_name and cidr and address:
            wanted.append(Route(cidr, address))
    return wanted


def reconcile(wanted: Iterable[Route], protocol: int = PROTOCOL) -> list[str]:
    """Make the kernel's routes of this protocol exactly ``wanted``; what could not be done."""
    problems = []
    left = {route.destination: route for route in wanted}
    with IPRoute() as kernel:
        for message in kernel.get_routes(family=socket.AF_INET, proto=protocol, table=_MAIN_TABLE):
            destination = f"{message.get('dst')}/{message['dst_len']}"
            route = left.get(destination)
            if route and (message.get("gateway") or "") == route.gateway:
                del left[destination]
            elif route is None:
                _tolerant(kernel, "del", dst=destination, proto=protocol)
        for route in left.values():
            problem = _replace(kernel, route, protocol)
            if problem:
                problems.append(problem)
    return problems


def _replace(kernel: IPRoute, route: Route, protocol: int) -> str:
    try:
        if route.gateway:
            kernel.route("replace", dst=route.destination, gateway=route.gateway, proto=protocol)
        else:
            loopback = kernel.link_lookup(ifname="lo")[0]
            kernel.route(
                "replace",
                dst=route.destination,
                oif=loopback,
                prefsrc=route.source,
                proto=protocol,
            )
    except NetlinkError as error:
        return f"route to {route.destination} by {route.gateway or 'lo'}: {error.args[-1]}"
    return ""


def _tolerant(kernel: IPRoute, verb: str, **route: object) -> None:
    """A route that is gone already, with its device, is as good as deleted."""
    try:
        kernel.route(verb, **route)
    except NetlinkError as error:
        if error.code != errno.ESRCH:
            raise


class Uplink(NamedTuple):
    """The device of the default route: whether there is one, and its MTU."""

    exists: bool
    mtu: int


def uplink() -> Uplink:
    """How this network namespace reaches the rest of the world."""
    with IPRoute() as kernel:
        routes = kernel.get_default_routes(family=socket.AF_INET)
        if not routes:
            return Uplink(False, _DEFAULT_MTU)
        index = routes[0].get("oif")
        links = kernel.get_links(index) if index else []
        mtu = next((link.get("mtu") for link in links), None)
    return Uplink(True, mtu or _DEFAULT_MTU)
