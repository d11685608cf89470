"""Gives every node a range of the cluster CIDR: ``spec.podCIDR`` and ``spec.podCIDRs``.

What nodes hold is the truth. One worker assigns, and looks for the next free range only once the
informer shows its last assignment, so no range is given twice.
"""

import ipaddress

from kybern.api.errors import Obj
from kybern.api.resources import NODES
from kybern.controllers.controller import Context, Controller


class NodeIpamController(Controller):
    """Keyed by node name."""

    name = "node-ipam-controller"
    account = "node-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.watch(NODES)
        self.nodes.on_change(self._hold)
        self.held: dict[str, str] = {}
        self.next = 0
        cluster = ipaddress.ip_network(context.config.cluster_cidr)
        self.mask = max(context.config.node_cidr_mask_size, cluster.prefixlen)
        self.base = int(cluster.network_address)
        self.size = 1 << (cluster.max_prefixlen - self.mask)
        self.ranges = 1 << (self.mask - cluster.prefixlen)
        self.address = type(cluster.network_address)
        self.recorder = context.recorder(self.client, "cidrAllocator")

    def _hold(self, old: Obj | None, new: Obj | None) -> None:
        """Keep which range belongs to which node."""
        if old is not None and new is None:
            cidr = (old.get("spec") or {}).get("podCIDR", "")
            if self.held.get(cidr) == old["metadata"]["name"]:
                del self.held[cidr]
        if new is not None and (new.get("spec") or {}).get("podCIDR"):
            self.held[new["spec"]["podCIDR"]] = new["metadata"]["name"]

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if node is None or (node.get("spec") or {}).get("podCIDR"):
            return None
        if not self.context.config.allocate_node_cidrs:
            return None
        cidr = self._free()
        if cidr is None:
            self.recorder.event(
                node, "Normal", "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable"
            )
            return 30
        patch = {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        patched = await self.client.patch(NODES, key, patch)
        await self.nodes.reached(patched["metadata"]["resourceVersion"])
        return None

    def _free(self) -> str | None:
        for step in range(self.ranges):
            index = (self.next + step) % self.ranges
            cidr = f"{self.address(self.base + index * self.size)}/{self.mask}"
            if cidr not in self.held:
                self.next = (index + 1) % self.ranges
                return cidr
        return None
