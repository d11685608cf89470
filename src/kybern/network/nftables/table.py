"""The part of the table that is always there: hooks, dispatch maps, masquerade, guards.

A packet's way, on its connection's first packet (everything later follows conntrack):

- ``check`` at prerouting and output, before any address is changed: load balancer source ranges,
  and the refusal of Services that have no endpoints;
- ``services`` as destination NAT at the same hooks: cluster, external and load balancer addresses
  by one verdict map, then host ports and node ports on the node's own addresses;
- ``unserved`` after NAT: other ports of cluster IPs are refused, unused cluster IPs dropped;
- ``masquerading`` at postrouting: marked packets, hairpins, localhost, pods on their way outside.
"""

from dataclasses import dataclass

TABLE = "kybern"
FAMILY_AND_TABLE = f"ip {TABLE}"
# The bit that upstream's proxies use too; it lives between two hooks of one packet only.
MASQUERADE_MARK = "0x4000"
MARK_FOR_MASQUERADE = f"meta mark set meta mark or {MASQUERADE_MARK}"

# Names of the maps and sets whose elements are the fragments' business.
SERVICE_IPS = "service-ips"
NODE_PORTS = "node-ports"
FIREWALL_IPS = "firewall-ips"
REFUSED_IPS = "refused-ips"
REFUSED_NODE_PORTS = "refused-node-ports"
CLUSTER_IPS = "cluster-ips"
HAIRPINS = "hairpins"
HOST_PORTS = "host-ports"
HOST_PORTS_AT = "host-ports-at"
NODE_IPS = "node-ips"

_PLACE = "ipv4_addr . inet_proto . inet_service"
_PORT = "inet_proto . inet_service"
_SETS = {
    REFUSED_IPS: _PLACE,
    REFUSED_NODE_PORTS: _PORT,
    CLUSTER_IPS: "ipv4_addr",
    HAIRPINS: "ipv4_addr . ipv4_addr",
    NODE_IPS: "ipv4_addr",
}
_MAPS = {
    SERVICE_IPS: f"{_PLACE} : verdict",
    FIREWALL_IPS: f"{_PLACE} : verdict",
    NODE_PORTS: f"{_PORT} : verdict",
    HOST_PORTS: f"{_PORT} : ipv4_addr . inet_service",
    HOST_PORTS_AT: f"{_PLACE} : ipv4_addr . inet_service",
}
_HOOKS = {
    "check-prerouting": "type filter hook prerouting priority -110",
    "check-output": "type filter hook output priority -110",
    "nat-prerouting": "type nat hook prerouting priority -100",
    "nat-output": "type nat hook output priority -100",
    "guard-input": "type filter hook input priority -10",
    "unserved-forward": "type filter hook forward priority 0",
    "unserved-output": "type filter hook output priority 0",
    "nat-postrouting": "type nat hook postrouting priority 100",
}
_PLACE_OF_PACKET = "ip daddr . meta l4proto . th dport"
_PORT_OF_PACKET = "meta l4proto . th dport"
REFUSE = "refuse"


@dataclass(frozen=True)
class Skeleton:
    """The table without fragments, for one cluster's address ranges.

    ``pod_cidr`` is the node's own range, empty while the node has none.
    """

    cluster_cidr: str
    service_cidr: str
    pod_cidr: str = ""

    def lines(self) -> list[str]:
        """Commands that replace the table by an empty one of this shape."""
        table = FAMILY_AND_TABLE
        lines = [f"add table {table}", f"delete table {table}", f"add table {table}"]
        lines += [f"add set {table} {name} {{ type {kind}; }}" for name, kind in _SETS.items()]
        lines += [f"add map {table} {name} {{ type {kind}; }}" for name, kind in _MAPS.items()]
        lines += [
            f"add chain {table} {name} {{ {hook}; policy accept; }}"
            for name, hook in _HOOKS.items()
        ]
        chains = self._chains()
        lines += [f"add chain {table} {name}" for name in chains if name not in _HOOKS]
        lines += [
            f"add rule {table} {name} {rule}" for name, rules in chains.items() for rule in rules
        ]
        return lines

    def _chains(self) -> dict[str, tuple[str, ...]]:
        return {
            REFUSE: ("meta l4proto tcp reject with tcp reset", "reject"),
            "check": (
                f"{_PLACE_OF_PACKET} vmap @{FIREWALL_IPS}",
                f"{_PLACE_OF_PACKET} @{REFUSED_IPS} goto {REFUSE}",
                f"fib daddr type local {_PORT_OF_PACKET} @{REFUSED_NODE_PORTS} goto {REFUSE}",
            ),
            "services": (
                # Whoever comes from outside with a route to the service range is masqueraded,
                # because the chosen endpoint may be on another node.
                f"ip daddr @{CLUSTER_IPS} ip saddr != {self.cluster_cidr} {MARK_FOR_MASQUERADE}",
                f"{_PLACE_OF_PACKET} vmap @{SERVICE_IPS}",
                "fib daddr type local jump own-addresses",
            ),
            "own-addresses": (
                f"dnat ip addr . port to {_PLACE_OF_PACKET} map @{HOST_PORTS_AT}",
                f"dnat ip addr . port to {_PORT_OF_PACKET} map @{HOST_PORTS}",
                f"{_PORT_OF_PACKET} vmap @{NODE_PORTS}",
            ),
            "unserved": (
                f"ip daddr @{CLUSTER_IPS} goto {REFUSE}",
                f"ip daddr {self.service_cidr} drop",
            ),
            "check-prerouting": ("ct state new jump check",),
            "check-output": ("ct state new jump check",),
            "nat-prerouting": ("jump services",),
            "nat-output": ("jump services",),
            "guard-input": (
                # route_localnet lets node ports answer at 127.0.0.1; it must not let a neighbour
                # on the wire reach what listens on the node's loopback addresses.
                'iifname != "lo" ip daddr 127.0.0.0/8 ct state != { established, related } drop',
            ),
            "unserved-forward": ("ct state new jump unserved",),
            "unserved-output": ("ct state new jump unserved",),
            "nat-postrouting": self._masquerading(),
        }

    def _masquerading(self) -> tuple[str, ...]:
        rules = [
            f"meta mark and {MASQUERADE_MARK} != 0"
            f" meta mark set meta mark xor {MASQUERADE_MARK} masquerade fully-random",
            # A pod that reaches itself through a Service would get answers it never asked for.
            f"ct status dnat ip saddr . ip daddr @{HAIRPINS} masquerade fully-random",
            'ct status dnat ip saddr 127.0.0.0/8 oifname != "lo" masquerade fully-random',
        ]
        if self.pod_cidr:
            rules.append(
                f"ip saddr {self.pod_cidr} ip daddr != {{ {self.cluster_cidr}, 224.0.0.0/4 }}"
                f" ip daddr != @{NODE_IPS} masquerade fully-random"
            )
        return tuple(rules)
