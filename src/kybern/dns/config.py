"""The DNS component's flags (``kybern run dns``)."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass(frozen=True)
class Config:
    """One node's DNS server."""

    kubeconfig: str = flag("", "How to reach the API server and as whom")
    hostname_override: str = flag("", "The name of this node; the machine's hostname if empty")
    node_ip: tuple[str, ...] = flag((), "The node's own address; of its Node object if empty")
    cluster_cidr: str = flag("10.244.0.0/16", "The range of all pods' addresses")
    service_cluster_ip_range: str = flag("10.96.0.0/16", "The range of Services' cluster IPs")
    cluster_domain: str = flag("cluster.local", "The domain of this cluster")
    cluster_dns: tuple[str, ...] = flag(
        ("10.96.0.10",), "The cluster IP at which pods ask for names"
    )
    dns_port: int = flag(10053, "The port on the node that the cluster IP leads to")
    dns_ttl: int = flag(5, "Seconds for which clients may keep an answer about the cluster")
    dns_upstream: tuple[str, ...] = flag(
        (), "Resolvers for all other names, as ADDRESS or ADDRESS:PORT"
    )
    resolv_conf: str = flag(
        "/etc/resolv.conf", "Where the resolvers for other names are read, unless they are given"
    )
