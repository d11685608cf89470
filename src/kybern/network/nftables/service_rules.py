"""One Service port and its endpoints as a fragment of the table.

Chains of a port: ``cluster-`` and ``local-`` choose an endpoint under that traffic policy,
``external-`` is the way in from everything but the cluster IP, ``firewall-`` checks load balancer
source ranges, ``endpoint-`` (with session affinity only) remembers the client and goes to one
endpoint. Pure; the proxy is the caller.
"""

import hashlib
from collections.abc import Sequence

from kybern.network.endpoints import Choice, Endpoint
from kybern.network.nftables.ruleset import Fragment
from kybern.network.nftables.table import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    HAIRPINS,
    MARK_FOR_MASQUERADE,
    NODE_PORTS,
    REFUSED_IPS,
    REFUSED_NODE_PORTS,
    SERVICE_IPS,
)
from kybern.network.services import ServicePort

# The kernel allows 127 characters; the hash makes a name unique, the rest is for the reader.
_READABLE = 80


def service_fragment(ports: Sequence[tuple[ServicePort, Choice]], cluster_cidr: str) -> Fragment:
    """The fragment of all ports of one Service."""
    fragment = Fragment()
    for port, choice in ports:
        _PortRules(port, choice, cluster_cidr, fragment).write()
    return fragment


class _PortRules:
    """Writes one port's rules into its Service's fragment."""

    def __init__(
        self, port: ServicePort, choice: Choice, cluster_cidr: str, fragment: Fragment
    ) -> None:
        self.port = port
        self.choice = choice
        self.cluster_cidr = cluster_cidr
        self.fragment = fragment
        digest = hashlib.sha256(port.identity.encode()).hexdigest()[:8]
        self.suffix = f"{digest}/{port.identity}"[:_READABLE].rstrip("/.-")

    def write(self) -> None:
        self.fragment.elements[CLUSTER_IPS, self.port.cluster_ip] = None
        if not self.choice.exists:
            self._refuse()
            return
        inside = self.choice.local if self.port.internal_local else self.choice.cluster
        verdict = f"goto {self._policy(self.port.internal_local)}" if inside else "drop"
        self._dispatch(self.port.cluster_ip, verdict)
        if self.port.outside:
            self._external()
        self._policy_chains()
        for endpoint in {*self.choice.cluster, *self.choice.local}:
            if endpoint.local:
                address = endpoint.address
                self.fragment.elements[HAIRPINS, f"{address} . {address}"] = None

    def _place(self, address: str) -> str:
        return f"{address} . {self.port.protocol} . {self.port.port}"

    def _policy(self, local: bool) -> str:
        return f"{'local' if local else 'cluster'}-{self.suffix}"

    def _dispatch(self, address: str, verdict: str) -> None:
        self.fragment.elements[SERVICE_IPS, self._place(address)] = verdict

    def _refuse(self) -> None:
        """No node has an endpoint: whoever asks is told so at once, wherever they ask."""
        port = self.port
        for address in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
            self.fragment.elements[REFUSED_IPS, self._place(address)] = None
        if port.node_port:
            self.fragment.elements[REFUSED_NODE_PORTS, f"{port.protocol} . {port.node_port}"] = None

    def _external(self) -> None:
        port = self.port
        chain = f"external-{self.suffix}"
        for address in (*port.external_ips, *port.load_balancer_ips):
            self._dispatch(address, f"goto {chain}")
        if port.node_port:
            key = f"{port.protocol} . {port.node_port}"
            self.fragment.elements[NODE_PORTS, key] = f"goto {chain}"
        self.fragment.chains[chain] = self._external_rules()
        if port.source_ranges and port.load_balancer_ips:
            self._firewall()

    def _external_rules(self) -> tuple[str, ...]:
        cluster = self._policy(False)
        if not self.port.external_local:
            return (MARK_FOR_MASQUERADE, f"goto {cluster}")
        # Policy Local keeps the client's address and so stays on this node; it is meant for
        # clients outside. Pods and the node itself are served as if they had left and come back.
        return (
            f"ip saddr {self.cluster_cidr} goto {cluster}",
            f"fib saddr type local {MARK_FOR_MASQUERADE}",
            f"fib saddr type local goto {cluster}",
            f"goto {self._policy(True)}" if self.choice.local else "drop",
        )

    def _firewall(self) -> None:
        chain = f"firewall-{self.suffix}"
        addresses = self.port.load_balancer_ips
        # A node that holds the address itself sends from it. One rule a range, because ranges may
        # overlap, which no set allows.
        allowed = dict.fromkeys((*self.port.source_ranges, *addresses))
        self.fragment.chains[chain] = (*(f"ip saddr {source} return" for source in allowed), "drop")
        for address in addresses:
            self.fragment.elements[FIREWALL_IPS, self._place(address)] = f"jump {chain}"

    def _policy_chains(self) -> None:
        port, choice = self.port, self.choice
        if not port.internal_local or port.outside:
            self._choose(self._policy(False), choice.cluster)
        if choice.local and (port.internal_local or (port.external_local and port.outside)):
            self._choose(self._policy(True), choice.local)

    def _choose(self, chain: str, endpoints: Sequence[Endpoint]) -> None:
        if self.port.affinity_seconds:
            self.fragment.chains[chain] = self._affine(endpoints)
            return
        places = ", ".join(
            f"{index} : {endpoint.address} . {endpoint.port}"
            for index, endpoint in enumerate(endpoints)
        )
        self.fragment.chains[chain] = (
            f"meta l4proto {self.port.protocol} dnat ip addr . port to"
            f" numgen random mod {len(endpoints)} map {{ {places} }}",
        )

    def _affine(self, endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
        """Clients that an endpoint remembers go there, others to a random one."""
        rules = []
        verdicts = []
        for index, endpoint in enumerate(endpoints):
            chain, memory = self._remembering(endpoint)
            rules.append(f"ip saddr @{memory} goto {chain}")
            verdicts.append(f"{index} : goto {chain}")
        rules.append(f"numgen random mod {len(endpoints)} vmap {{ {', '.join(verdicts)} }}")
        return tuple(rules)

    def _remembering(self, endpoint: Endpoint) -> tuple[str, str]:
        """The endpoint's chain and the set that remembers its clients."""
        place = f"{endpoint.address}:{endpoint.port}"
        seconds = self.port.affinity_seconds
        digest = hashlib.sha256(f"{self.port.identity} {place}".encode()).hexdigest()[:16]
        chain = f"endpoint-{digest}-{seconds}"
        memory = f"affinity-{digest}-{seconds}"
        self.fragment.sets[memory] = f"type ipv4_addr; flags dynamic, timeout; timeout {seconds}s;"
        self.fragment.chains[chain] = (
            f"update @{memory} {{ ip saddr }}",
            f"meta l4proto {self.port.protocol} dnat to {place}",
        )
        return chain, memory
