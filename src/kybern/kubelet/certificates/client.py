"""Who the kubelet is to the API server: its client certificate, from the first one on.

A kubelet that has a usable kubeconfig begins with it. One that has only a bootstrap kubeconfig
(``--bootstrap-kubeconfig``, as a rule with a bootstrap token) writes a kubeconfig that points at
its certificate store, which is empty yet, and asks for a certificate with the token. With
``--rotate-certificates`` it starts meanwhile, and static pods run; without, it waits. The next
kubelet finds the kubeconfig usable, or begins anew. A certificate that has expired asks for
nothing any more, so then the bootstrap kubeconfig is needed again.
"""

import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from cryptography import x509

from kybern.client.client import Client
from kybern.client.https import HttpsTransport
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig
from kybern.component.pki import KeyPair
from kybern.kubelet.certificates.manager import CertificateManager
from kybern.kubelet.certificates.metrics import CLIENT_METRICS
from kybern.kubelet.certificates.requests import CLIENT, Template
from kybern.kubelet.certificates.store import CertificateStore
from kybern.kubelet.config import Config

logger = logging.getLogger(__name__)

AGENT = "kubelet"


def connect(kubeconfig: str, clock: Clock, config: Config) -> Client:
    """The kubelet's client as it begins; raises ValueError, OSError."""
    if not config.bootstrap_kubeconfig or is_usable(kubeconfig, clock):
        return Client.from_kubeconfig(kubeconfig, clock, user_agent=AGENT)
    known = load_access(config.bootstrap_kubeconfig)
    nobody = Access(known.server, known.ca, insecure=known.insecure, namespace=known.namespace)
    store = _store(config)
    write_kubeconfig(
        Path(kubeconfig),
        nobody,
        user="default-auth",
        cluster="default-cluster",
        certificate_file=store.current_path.absolute(),
    )
    logger.info("%s points at certificates that are still to be asked for", kubeconfig)
    return Client.from_access(nobody, clock, AGENT)


def is_usable(kubeconfig: str, clock: Clock) -> bool:
    """Whether there is a kubeconfig with a client certificate that is still valid."""
    if not os.path.exists(kubeconfig):
        return False
    try:
        access = load_access(kubeconfig)
        chain = x509.load_pem_x509_certificates(access.certificate)
        access.ssl_context()
    except (OSError, ValueError, KeyError) as error:
        logger.warning("%s is not used: %s", kubeconfig, error)
        return False
    for certificate in chain:
        if clock.now() > certificate.not_valid_after_utc:
            logger.warning(
                "the client certificate in %s has expired: %s",
                kubeconfig,
                certificate.not_valid_after_utc,
            )
            return False
    return True


async def prepare_client_certificate(
    client: Client, clock: Clock, config: Config, node: str
) -> CertificateManager | None:
    """Let the client present the node's certificate; who keeps it good, if anybody is to.

    Waits for the first certificate where nobody is to rotate it.
    """
    transport = client.transport
    if not isinstance(transport, HttpsTransport):
        return None
    given = transport.access
    if not config.rotate_certificates and (given.certificate or not config.bootstrap_kubeconfig):
        return None

    async def present(pair: KeyPair) -> None:
        await client.renew(pair.certificate_pem, pair.key_pem)

    @contextlib.asynccontextmanager
    async def asking() -> AsyncIterator[Client]:
        if manager.current is not None or not config.bootstrap_kubeconfig:
            yield client
            return
        # Read for every request: whoever sees an expired token can put another one there.
        bootstrap = Client.from_kubeconfig(config.bootstrap_kubeconfig, clock, user_agent=AGENT)
        try:
            yield bootstrap
        finally:
            await bootstrap.close()

    template = Template(node)
    manager = CertificateManager(
        _store(config), CLIENT, lambda: template, asking, clock, CLIENT_METRICS, present
    )
    if given.certificate:
        manager.start_from(given.certificate, given.key)
    if manager.current is not None:
        await present(manager.current)
    if config.rotate_certificates:
        return manager
    if manager.current is None:
        await manager.renew()
    return None


def _store(config: Config) -> CertificateStore:
    return CertificateStore(config.certificates, "kubelet-client")
