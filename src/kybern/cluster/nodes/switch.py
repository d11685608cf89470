"""The bridge that joins the namespaced nodes of one data directory, and the machine to them.

The machine is the bridge's first address: there the nodes find the API server, and their way to
the outside world, masqueraded by a small nftables table of the bridge's own. Forwarding is turned
on for the bridge and the uplink alone, never for the whole machine, and is recorded to be undone.
"""

import asyncio
import errno
import hashlib
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from kybern.cluster.nodes.spec import Node, identity
from kybern.cluster.nodes.supervisor import ROUTE_PROTOCOL
from kybern.network import sysctls
from kybern.network.nftables.transport import NftablesError, open_nftables

# Each data directory has a /24 of its own in here.
_RANGE = ipaddress.IPv4Network("10.223.0.0/16")
_FIRST_NODE = 11
_PEER_NAME = "eth0"


@dataclass(frozen=True)
class Switch:
    """The bridge's names and addresses; computed, so that they are the same after a reboot."""

    bridge: str
    subnet: ipaddress.IPv4Network
    record: Path

    @classmethod
    def of(cls, data_dir: Path) -> "Switch":
        name = identity(data_dir)
        third = int(hashlib.sha256(name.encode()).hexdigest()[:2], 16)
        first = int(_RANGE.network_address) + third * 256
        subnet = ipaddress.IPv4Network((first, 24))
        return cls(f"kybern-{name}", subnet, data_dir / "nodes" / "switch-sysctls.json")

    @property
    def gateway(self) -> str:
        """The machine's address on the bridge."""
        return str(self.subnet[1])

    def node_ip(self, index: int) -> str:
        """The address of the node with this number, from 0."""
        return str(self.subnet[_FIRST_NODE + index])

    @property
    def table(self) -> str:
        return f"ip {self.bridge}"


async def ensure_switch(data_dir: Path) -> Switch:
    """Make the bridge unless it is there; raises OSError, NftablesError."""
    switch = Switch.of(data_dir)
    # The directory tells ``clean`` that there may be a bridge, also before the first node starts.
    switch.record.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(_ensure, switch)
    return switch


def _ensure(switch: Switch) -> None:
    with IPRoute() as kernel:
        if not kernel.link_lookup(ifname=switch.bridge):
            kernel.link("add", ifname=switch.bridge, kind="bridge")
        index = kernel.link_lookup(ifname=switch.bridge)[0]
        _tolerant(
            errno.EEXIST,
            call=lambda: kernel.addr(
                "add", index=index, address=switch.gateway, prefixlen=switch.subnet.prefixlen
            ),
        )
        kernel.link("set", index=index, state="up")
        uplink = _uplink(kernel)
    settings = {f"net/ipv4/conf/{switch.bridge}/forwarding": "1"}
    sysctls.apply(settings, None)
    if uplink:
        sysctls.apply({f"net/ipv4/conf/{uplink}/forwarding": "1"}, switch.record)
    open_nftables().run(
        f"add table {switch.table}\n"
        f"delete table {switch.table}\n"
        f"add table {switch.table}\n"
        f"add chain {switch.table} post {{ type nat hook postrouting priority 100; }}\n"
        f"add rule {switch.table} post ip saddr {switch.subnet} ip daddr != {switch.subnet}"
        f' oifname != "{switch.bridge}" masquerade\n'
    )


def _uplink(kernel: IPRoute) -> str:
    """The device of the machine's default route, "" without one."""
    routes = kernel.get_default_routes(family=socket.AF_INET)
    index = routes[0].get("oif") if routes else None
    return kernel.get_links(index)[0].get("ifname") if index else ""


def connect(node: Node) -> None:
    """Make the node's network namespace with a cable to the switch, unless both are there."""
    switch = Switch.of(node.spec.data_dir)
    if node.netns not in netns.listnetns():
        netns.create(node.netns)
    with IPRoute() as machine:
        bridge = machine.link_lookup(ifname=switch.bridge)[0]
        if not machine.link_lookup(ifname=node.veth):
            machine.link(
                "add",
                ifname=node.veth,
                kind="veth",
                peer={"ifname": _PEER_NAME, "net_ns_fd": node.netns},
            )
        cable = machine.link_lookup(ifname=node.veth)[0]
        machine.link("set", index=cable, master=bridge, state="up")
    with IPRoute(netns=node.netns) as inside:
        for name in ("lo", _PEER_NAME):
            inside.link("set", index=inside.link_lookup(ifname=name)[0], state="up")
        index = inside.link_lookup(ifname=_PEER_NAME)[0]
        _tolerant(
            errno.EEXIST,
            call=lambda: inside.addr(
                "add", index=index, address=node.spec.node_ip, prefixlen=switch.subnet.prefixlen
            ),
        )
        inside.route("replace", dst="default", gateway=switch.gateway)


def disconnect(node: Node) -> None:
    """Remove the node's namespace, and with it its cable and all that is in it."""
    with IPRoute() as machine:
        found = machine.link_lookup(ifname=node.veth)
        if found:
            _tolerant(errno.ENODEV, call=lambda: machine.link("del", index=found[0]))
        for route in machine.get_routes(family=socket.AF_INET, proto=ROUTE_PROTOCOL):
            if route.get("gateway") == node.spec.node_ip:
                destination = f"{route.get('dst')}/{route['dst_len']}"
                _tolerant(
                    errno.ESRCH,
                    call=lambda dst=destination: machine.route(
                        "del", dst=dst, proto=ROUTE_PROTOCOL
                    ),
                )
    if node.netns in netns.listnetns():
        netns.remove(node.netns)


def remove_switch(data_dir: Path) -> None:
    """Remove the bridge, its table, and put the uplink's setting back; idempotent."""
    switch = Switch.of(data_dir)
    with IPRoute() as kernel:
        found = kernel.link_lookup(ifname=switch.bridge)
        if found:
            _tolerant(errno.ENODEV, call=lambda: kernel.link("del", index=found[0]))
    drop_table(switch.table)
    sysctls.restore(switch.record)


def drop_table(table: str) -> None:
    """Delete an nftables table of this network namespace, if the machine has nftables at all."""
    try:
        open_nftables().run(f"add table {table}\ndelete table {table}\n")
    except (OSError, NftablesError):
        return


def _tolerant(*codes: int, call: object) -> None:
    """Run a netlink call whose purpose may be fulfilled already."""
    assert callable(call)
    try:
        call()
    except NetlinkError as error:
        if error.code not in codes:
            raise
