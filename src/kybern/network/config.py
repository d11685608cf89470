"""The service proxy's flags (``kybern run proxy``), named as kube-proxy's where it has the flag."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass(frozen=True)
class Config:
    """What one node's network needs to know."""

    kubeconfig: str = flag("", "How to reach the API server and as whom")
    hostname_override: str = flag("", "The name of this node; the machine's hostname if empty")
    node_ip: tuple[str, ...] = flag((), "The node's own address; of its Node object if empty")
    cluster_cidr: str = flag("10.244.0.0/16", "The range of all pods' addresses")
    service_cluster_ip_range: str = flag("10.96.0.0/16", "The range of Services' cluster IPs")
    cni_conf_dir: str = flag(
        "",
        "Where to write the CNI configuration for the node's pod CIDR; if empty, pod networking"
        " and routes between nodes are left to another program",
    )
    cni_data_dir: str = flag("", "Where the address allocations of the node's pods are kept")
    cni_network_name: str = flag("kybern", "The name of the CNI network")
    sysctl_record: str = flag("", "Where kernel settings are kept as they were before")
    healthz_port: int = flag(
        10256, "Port for the proxy's health checks; 0 for none", name="proxy-healthz-port"
    )
