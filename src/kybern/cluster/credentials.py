"""Credentials of the components that ``up`` starts: client certificates in kubeconfigs.

User and group names are upstream's, because RBAC's bootstrap bindings and the Node authorizer go
by them. The authority is the API server's, in ``DIR/pki``.
"""

from pathlib import Path

from kybern.cluster.record import component_kubeconfig
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, write_kubeconfig
from kybern.component.pki import (
    CertificateAuthority,
    load_or_create_authority,
    load_or_create_key,
    load_or_issue,
)

USERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
    "dns": ("system:kube-dns", ()),
    # One process stands for many nodes, which no single node's identity covers.
    "hollow": ("system:hollow-nodes", ("system:masters",)),
}

# The group of all nodes' volume provisioners.
LOCAL_PATH_GROUP = "kybern:local-path"


def authority(data_dir: Path, clock: Clock) -> CertificateAuthority:
    """The cluster's certificate authority, made on first use."""
    return load_or_create_authority(data_dir / "pki", "ca", "kubernetes", clock)


def issue_components(data_dir: Path, server: str, clock: Clock) -> None:
    """Write a kubeconfig for each component of the control plane, and the token signing key."""
    issuer = authority(data_dir, clock)
    load_or_create_key(data_dir / "pki", "sa")
    for component, (user, groups) in USERS.items():
        _issue(issuer, component_kubeconfig(data_dir, component), server, user, groups)


def issue_node(data_dir: Path, node: str, server: str, clock: Clock) -> Path:
    """Write the kubeconfig of a node's agent; returns its path."""
    path = component_kubeconfig(data_dir, f"node-{node}")
    user = f"system:node:{node}"
    _issue(authority(data_dir, clock), path, server, user, ("system:nodes",))
    return path


def issue_local_path(data_dir: Path, node: str, server: str, clock: Clock) -> Path:
    """Write the kubeconfig of a node's volume provisioner; returns its path."""
    path = component_kubeconfig(data_dir, f"node-{node}-local-path")
    user = f"{LOCAL_PATH_GROUP}:{node}"
    _issue(authority(data_dir, clock), path, server, user, (LOCAL_PATH_GROUP,))
    return path


def issue_serving(data_dir: Path, node: str, address: str, clock: Clock) -> tuple[str, ...]:
    """Write the certificate of a node's own API; returns the kubelet's flags for it."""
    directory, file = data_dir / "credentials", f"node-{node}"
    issuer = authority(data_dir, clock)
    hosts = (node, address)
    user = f"system:node:{node}"
    load_or_issue(
        directory,
        file,
        issuer,
        lambda: issuer.issue_server(user, hosts, ("system:nodes",)),
        clock,
        hosts,
    )
    return (
        f"--tls-cert-file={directory / file}.crt",
        f"--tls-private-key-file={directory / file}.key",
    )


def _issue(
    issuer: CertificateAuthority, path: Path, server: str, user: str, groups: tuple[str, ...]
) -> None:
    pair = issuer.issue_client(user, groups)
    access = Access(
        server, ca=issuer.certificate_pem, certificate=pair.certificate_pem, key=pair.key_pem
    )
    write_kubeconfig(path, access, user=user)
