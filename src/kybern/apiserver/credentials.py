"""The files that identify a server and its users, made where they are missing.

``main.py`` calls :func:`prepare` at start. The layout under DIR/pki is kubeadm's; certificates are
renewed when they come close to their end, keys of authorities and of tokens are kept for good.
"""

import ipaddress
import socket
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kybern.apiserver.config import Config
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, write_kubeconfig

_MASTERS = ("system:masters",)
_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# Reserved for documentation: nothing is sent there, but the route to it shows our own address.
_ELSEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True)
class Credentials:
    """What was found or made. ``config`` names all the files."""

    config: Config
    authority: pki.CertificateAuthority
    front_proxy_authority: pki.CertificateAuthority
    admin: pki.KeyPair


def prepare(config: Config, clock: Clock) -> Credentials:
    """Make what is missing in DIR/pki and fill in the flags that were left empty."""
    directory = Path(config.data_dir) / "pki"
    config = replace(
        config, advertise_address=config.advertise_address or default_advertise_address(config)
    )
    authority = pki.load_or_create_authority(directory, "ca", "kubernetes", clock)
    front_proxy = pki.load_or_create_authority(directory, "front-proxy-ca", "front-proxy-ca", clock)
    hosts = server_hosts(config)
    pki.load_or_issue(
        directory,
        "apiserver",
        authority,
        lambda: authority.issue_server("kube-apiserver", hosts),
        clock,
        hosts,
    )
    clients: dict[str, tuple[str, pki.CertificateAuthority, tuple[str, ...]]] = {
        "apiserver-kubelet-client": ("kube-apiserver-kubelet-client", authority, _MASTERS),
        "front-proxy-client": ("front-proxy-client", front_proxy, ()),
        "admin": ("kubernetes-admin", authority, _MASTERS),
    }
    pairs = {
        name: pki.load_or_issue(directory, name, by, partial(by.issue_client, user, groups), clock)
        for name, (user, by, groups) in clients.items()
    }
    pki.load_or_create_key(directory, "sa")
    return Credentials(_with_files(config, directory), authority, front_proxy, pairs["admin"])


def _with_files(config: Config, directory: Path) -> Config:
    def file(given: str, name: str) -> str:
        return given or str(directory / name)

    return replace(
        config,
        client_ca_file=file(config.client_ca_file, "ca.crt"),
        tls_cert_file=file(config.tls_cert_file, "apiserver.crt"),
        tls_private_key_file=file(config.tls_private_key_file, "apiserver.key"),
        kubelet_client_certificate=file(
            config.kubelet_client_certificate, "apiserver-kubelet-client.crt"
        ),
        kubelet_client_key=file(config.kubelet_client_key, "apiserver-kubelet-client.key"),
        kubelet_certificate_authority=file(config.kubelet_certificate_authority, "ca.crt"),
        requestheader_client_ca_file=file(
            config.requestheader_client_ca_file, "front-proxy-ca.crt"
        ),
        service_account_signing_key_file=file(config.service_account_signing_key_file, "sa.key"),
        service_account_key_file=config.service_account_key_file or (str(directory / "sa.pub"),),
    )


def write_admin_kubeconfig(credentials: Credentials, port: int) -> Path:
    """DIR/kubeconfig: full access to this server from this machine and from its network."""
    config = credentials.config
    path = Path(config.data_dir) / "kubeconfig"
    access = Access(
        server=f"https://{_in_url(_reachable(config))}:{port}",
        ca=credentials.authority.certificate_pem,
        certificate=credentials.admin.certificate_pem,
        key=credentials.admin.key_pem,
    )
    write_kubeconfig(path, access)
    return path


def server_hosts(config: Config) -> list[str]:
    """Every name and address that clients may reach the server by."""
    first_service_address = [
        str(next(ipaddress.ip_network(cidr).hosts()))
        for cidr in config.service_cluster_ip_range.split(",")
    ]
    hosts = [
        *_SERVER_NAMES,
        "127.0.0.1",
        config.advertise_address,
        pki.local_host_name(),
        *first_service_address,
    ]
    if not ipaddress.ip_address(config.bind_address).is_unspecified:
        hosts.append(config.bind_address)
    return list(dict.fromkeys(host for host in hosts if host))


def default_advertise_address(config: Config) -> str:
    """The bind address if it is one; else the one this machine is known by in its network."""
    if not ipaddress.ip_address(config.bind_address).is_unspecified:
        return config.bind_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def _reachable(config: Config) -> str:
    """An address for clients on this machine: the loopback where the server listens on it."""
    bind = ipaddress.ip_address(config.bind_address)
    return "127.0.0.1" if bind.is_unspecified else config.bind_address


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
