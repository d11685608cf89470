"""The kubelet's flags, spelt as upstream's."""

from dataclasses import dataclass

from kybern.component.flags import flag


@dataclass
class Config:
    """What a kubelet is told."""

    root_dir: str = flag("/var/lib/kubelet", "Directory for all files of the kubelet.")
    container_runtime_endpoint: str = flag(
        "unix:///run/containerd/containerd.sock", "Socket of the container runtime (CRI)."
    )
    hostname_override: str = flag("", "Name of the node; the machine's host name by default.")
    node_ip: tuple[str, ...] = flag((), "Addresses of the node; found out by default.")
    cluster_dns: tuple[str, ...] = flag((), "Addresses of the cluster's DNS servers.")
    cluster_domain: str = flag("cluster.local", "Domain of the cluster.")
    resolv_conf: str = flag("/etc/resolv.conf", "The node's own DNS configuration.")
    address: str = flag("0.0.0.0", "Address that the node API listens on.")
    port: int = flag(10250, "Port of the node API.")
    tls_cert_file: str = flag(
        "", "Serving certificate of the node API (PEM); self-signed if empty."
    )
    tls_private_key_file: str = flag("", "Key of the serving certificate (PEM).")
    client_ca_file: str = flag("", "Authority of client certificates for the node API (PEM).")
    anonymous_auth: bool = flag(False, "Serve the node API to anonymous requests.")
    register_node: bool = flag(True, "Create the Node object.")
    node_labels: tuple[str, ...] = flag((), "Labels for the Node, as key=value.")
    register_with_taints: tuple[str, ...] = flag((), "Taints for the Node, as key=value:effect.")
    max_pods: int = flag(110, "How many pods the node takes.")
    cgroup_root: str = flag("", "Cgroup below which pods live.")
    system_reserved: tuple[str, ...] = flag((), "Resources kept from pods, as cpu=100m.")
    kube_reserved: tuple[str, ...] = flag((), "Resources kept for Kubernetes itself, as cpu=100m.")
    container_log_max_size: str = flag("10Mi", "Size at which a container's log is rotated.")
    container_log_max_files: int = flag(5, "How many log files a container keeps.")
    node_status_update_frequency: float = flag(10.0, "Seconds between looks at the node.")
