"""The node API's certificate: signed by the cluster (``--rotate-server-certificates``), given by
files, or signed by the node itself.

A serving certificate names the node's addresses, which the cluster's controllers cannot vouch for:
its requests wait until somebody approves them, and until then nobody can call the node API. The
server reads changed files by itself (``component/tls.py``).
"""

import contextlib
import ipaddress
from collections.abc import Iterable

from kybern.api.errors import Obj
from kybern.client.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.tls import TlsConfig
from kybern.kubelet.certificates.manager import CertificateManager
from kybern.kubelet.certificates.metrics import SERVING_METRICS
from kybern.kubelet.certificates.requests import SERVING, Template
from kybern.kubelet.certificates.store import CertificateStore
from kybern.kubelet.config import Config
from kybern.kubelet.node.status import addresses
from kybern.kubelet.parts import NodeFacts


def serving_files(config: Config, facts: NodeFacts, clock: Clock) -> TlsConfig:
    """What the node API serves with. Blocks."""
    if config.rotate_server_certificates:
        path = str(_store(config).current_path)
        return TlsConfig(path, path, True, awaited=True)
    if config.tls_cert_file:
        return TlsConfig(config.tls_cert_file, config.tls_private_key_file, True)
    directory = config.certificates
    authority = pki.load_or_create_authority(directory, "kubelet-ca", "kubelet-ca", clock)
    name = f"system:node:{facts.name}"
    hosts = [facts.name, *facts.ips]
    pki.load_or_issue(
        directory,
        "kubelet",
        authority,
        lambda: authority.issue_server(name, hosts, ("system:nodes",)),
        clock,
        hosts,
    )
    return TlsConfig(str(directory / "kubelet.crt"), str(directory / "kubelet.key"), True)


def serving_manager(
    client: Client, clock: Clock, config: Config, facts: NodeFacts
) -> CertificateManager:
    """Keeps the certificate that ``--rotate-server-certificates`` asks for."""

    def template() -> Template | None:
        """Nothing is asked for before the node knows an address."""
        hosts = hosts_of(addresses(facts.ips, facts.name))
        return Template(facts.name, hosts) if facts.ips else None

    return CertificateManager(
        _store(config),
        SERVING,
        template,
        lambda: contextlib.nullcontext(client),
        clock,
        SERVING_METRICS,
    )


def hosts_of(listed: Iterable[Obj]) -> tuple[str, ...]:
    """The names and addresses of a Node's status, as certificates spell them, each once."""
    return tuple(sorted({_spelt(entry["address"]) for entry in listed if entry["address"]}))


def _spelt(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _store(config: Config) -> CertificateStore:
    return CertificateStore(config.certificates, "kubelet-server")
