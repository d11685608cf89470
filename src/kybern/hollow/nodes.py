"""The Node and Lease objects of simulated nodes, and their pods' addresses."""

import ipaddress
from typing import Any

from kybern.hollow.config import Config

Obj = dict[str, Any]

# 198.18.0.0/15 is reserved for benchmarks: it never collides with a real node.
FIRST_NODE_ADDRESS = int(ipaddress.IPv4Address("198.18.0.1"))
FALLBACK_POD_NETWORK = int(ipaddress.IPv4Address("10.244.0.0"))
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
KUBELET_VERSION = "v1.36.0"


class PodAddresses:
    """Hands out the addresses of one node's pod network, round and round."""

    def __init__(self, network: str) -> None:
        parsed = ipaddress.ip_network(network)
        self._base = int(parsed.network_address)
        self._size = parsed.num_addresses
        self._next = 2
        self._taken: dict[str, str] = {}

    def of(self, uid: str) -> str:
        """The pod's address: the one it has, or a free one. Empty if the network is full."""
        if uid in self._taken:
            return self._taken[uid]
        used = frozenset(self._taken.values())
        for step in range(self._size - 3):
            host = 2 + (self._next - 2 + step) % (self._size - 3)
            address = str(ipaddress.ip_address(self._base + host))
            if address not in used:
                self._next = host + 1
                self._taken[uid] = address
                return address
        return ""

    def keep(self, uid: str, address: str) -> None:
        """The pod had this address before we knew it."""
        self._taken[uid] = address

    def free(self, uid: str) -> None:
        self._taken.pop(uid, None)


class HollowNode:
    """One simulated node."""

    def __init__(self, index: int, config: Config) -> None:
        self.name = f"{config.node_prefix}{index}"
        self.address = str(ipaddress.ip_address(FIRST_NODE_ADDRESS + index))
        fallback = ipaddress.ip_address(FALLBACK_POD_NETWORK + 256 * (index + 1))
        self.pod_addresses = PodAddresses(f"{fallback}/24")
        self.pod_network = ""
        self.uid = ""
        self.held_lease: Obj | None = None
        self.declared_dead = False
        self._index = index
        self._config = config

    def use_network(self, network: str) -> None:
        """Node.spec.podCIDR was assigned."""
        if network and network != self.pod_network:
            self.pod_network = network
            self.pod_addresses = PodAddresses(network)

    def object(self, now: str) -> Obj:
        """The Node as it registers."""
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self._labels()},
            "spec": {},
            "status": self.status(now),
        }

    def status(self, now: str) -> Obj:
        config = self._config
        capacity = {
            "cpu": config.node_cpu,
            "memory": config.node_memory,
            "pods": str(config.node_pods),
            "ephemeral-storage": "100Gi",
        }
        return {
            "capacity": capacity,
            "allocatable": dict(capacity),
            "conditions": node_conditions(now),
            "addresses": [
                {"type": "InternalIP", "address": self.address},
                {"type": "Hostname", "address": self.name},
            ],
            "nodeInfo": {
                "machineID": self.name,
                "systemUUID": self.name,
                "bootID": self.name,
                "kernelVersion": "simulated",
                "osImage": "simulated",
                "containerRuntimeVersion": "simulated://1",
                "kubeletVersion": KUBELET_VERSION,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        }

    def lease(self, now: str) -> Obj:
        """The Lease, renewed now; a new one belongs to the Node."""
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now,
        }
        if self.held_lease is not None:
            return {**self.held_lease, "spec": spec}
        owner = {"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": self.uid}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self.name,
                "namespace": LEASE_NAMESPACE,
                "ownerReferences": [owner],
            },
            "spec": spec,
        }

    def _labels(self) -> dict[str, str]:
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }
        if self._config.node_zones:
            zone = self._index % self._config.node_zones
            labels["topology.kubernetes.io/region"] = "simulated"
            labels["topology.kubernetes.io/zone"] = f"zone-{zone}"
        for label in self._config.node_labels:
            key, _, value = label.partition("=")
            labels[key] = value
        return labels


def node_conditions(now: str) -> list[Obj]:
    """A healthy node's conditions, with the kubelet's reasons."""
    facts = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "sufficient PID available"),
        ("Ready", "True", "KubeletReady", "posting ready status"),
    )
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": f"kubelet has {text}" if kind != "Ready" else f"kubelet is {text}",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for kind, status, reason, text in facts
    ]
