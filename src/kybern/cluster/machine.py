"""This machine as the ground that real nodes stand on: their addresses, names and credentials.

``up`` asks for it only where real nodes are wanted. One node is the machine itself; several are
network namespaces on a bridge, whose gateway address is where they reach the control plane.
"""

from dataclasses import dataclass

from kybern.client import Client
from kybern.cluster import credentials, nodes
from kybern.cluster.nodes import Node, NodeSpec
from kybern.cluster.nodes.local_path import offer
from kybern.cluster.nodes.roles import grant
from kybern.cluster.nodes.switch import Switch, ensure_switch
from kybern.cluster.record import Record
from kybern.component.clock import Clock
from kybern.component.pki import local_host_name

COMPONENTS = ("kubelet", "proxy", "dns", "local-path")


@dataclass(frozen=True)
class Machine:
    """``gateway`` is the address at which nodes and pods reach the API server."""

    gateway: str
    switch: Switch | None

    @classmethod
    async def prepare(cls, record: Record) -> "Machine":
        """Make the bridge if several nodes are wanted."""
        if record.nodes == 1:
            return cls(nodes.machine_address(), None)
        switch = await ensure_switch(record.data_dir)
        return cls(switch.gateway, switch)

    async def start_nodes(self, record: Record, clock: Clock, client: Client) -> None:
        """Start the wanted nodes one by one; returns when their runtimes answer."""
        await grant(client)
        if "local-path" not in record.disable:
            await offer(client)
        for index in range(record.nodes):
            await nodes.start(Node(self._spec(record, clock, index)))

    def _spec(self, record: Record, clock: Clock, index: int) -> NodeSpec:
        server = f"https://{self.gateway}:{record.secure_port}"
        name = local_host_name() if self.switch is None else f"node-{index + 1}"
        address = self.gateway if self.switch is None else self.switch.node_ip(index)
        components = tuple(c for c in COMPONENTS if c not in record.disable)
        serving = credentials.issue_serving(record.data_dir, name, address, clock)
        provisioner = credentials.issue_local_path(record.data_dir, name, server, clock)
        provisioning = (f"--local-path-kubeconfig={provisioner}",)
        return NodeSpec(
            name=name,
            data_dir=record.data_dir,
            namespaced=self.switch is not None,
            node_ip=address,
            kubeconfig=credentials.issue_node(record.data_dir, name, server, clock),
            components=components,
            flags=(
                *(serving if "kubelet" in components else ()),
                *(provisioning if "local-path" in components else ()),
                *record.flags_of(*components),
            ),
            cluster_dns=record.cluster_dns,
            cluster_cidr=record.cluster_cidr,
            service_cidr=record.service_cluster_ip_range,
            registry_mirrors=record.registry_mirrors,
            registry_config=record.registry_config,
        )
