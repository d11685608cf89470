"""A node's certificates: from the bootstrap token to rotation, denial, expiry and approval."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certificate_lab import TOKEN, decide, let_nodes_join, requested, signing
from kybern.api import objects
from kybern.api.resources import CLUSTER_ROLE_BINDINGS
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.client import Client
from kybern.client.transport import InProcessTransport
from kybern.component.client_certificates import ClientCertificates
from kybern.component.pki import CertificateAuthority, certificate_hosts
from kybern.kubelet.certificates.manager import CertificateManager
from kybern.kubelet.certificates.metrics import CLIENT_METRICS
from kybern.kubelet.certificates.requests import CLIENT, Template
from kybern.kubelet.certificates.serving import serving_manager
from kybern.kubelet.certificates.store import CertificateStore
from kybern.kubelet.config import Config
from kybern.kubelet.parts import NodeFacts
from kybern.testing import Cluster

TOKENS = ApiServerConfig(enable_bootstrap_token_auth=True)

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, api_server=TOKENS),
]

LIFE_SECONDS = 1200.0


@dataclass
class Node:
    """A node's client certificate, and who asks for it."""

    cluster: Cluster
    authority: CertificateAuthority
    directory: Path
    # Whether each request was made with the bootstrap token.
    bootstrapped: list[bool] = field(default_factory=list)
    manager: CertificateManager = field(init=False)
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Be a kubelet that has just started."""
        store = CertificateStore(self.directory, "kubelet-client")
        clock = self.cluster.clock
        self.manager = CertificateManager(
            store, CLIENT, lambda: Template("n1"), self._asking, clock, CLIENT_METRICS
        )
        self.task = asyncio.create_task(self.manager.run())

    async def kill(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Client]:
        self.bootstrapped.append(self.manager.current is None)
        yield self.client()

    def client(self) -> Client:
        """Whoever the node is by now: its certificate's user, or the token's."""
        if (pair := self.manager.current) is None:
            transport = InProcessTransport(self.cluster.server.handler, None, TOKEN)
            return Client(transport, self.cluster.clock)
        known = ClientCertificates(self.authority.certificate_pem, self.cluster.clock)
        user = known.user(pair.certificate.public_bytes(Encoding.DER))
        assert user is not None
        return self.cluster.client_as(user)

    async def until_current(self, other_than: Any = None) -> Any:
        """The certificate, once there is one (another one)."""

        async def there() -> bool:
            return self.manager.current not in (None, other_than)

        await self.cluster.wait_until(there, patience=2 * LIFE_SECONDS)
        return self.manager.current


@pytest.fixture
async def authority(kybern_cluster: Cluster, tmp_path: Path) -> CertificateAuthority:
    made = CertificateAuthority.create("kubernetes", kybern_cluster.clock)
    made.pair.save(tmp_path, "ca")
    return made


@pytest.fixture
async def cluster(
    kybern_cluster: Cluster, authority: CertificateAuthority, tmp_path: Path
) -> AsyncIterator[Cluster]:
    async with signing(kybern_cluster, tmp_path, life=LIFE_SECONDS):
        yield kybern_cluster


@pytest.fixture
async def node(
    cluster: Cluster, authority: CertificateAuthority, tmp_path: Path
) -> AsyncIterator[Node]:
    made = Node(cluster, authority, tmp_path / "pki")
    yield made
    await made.kill()


async def test_a_bootstrap_token_becomes_a_certificate_that_renews_itself(
    cluster: Cluster, node: Node
) -> None:
    await let_nodes_join(cluster.client)
    first = await node.until_current()
    [request] = await requested(cluster.client)
    assert request["spec"]["username"] == "system:bootstrap:abcdef"
    assert request["spec"]["usages"] == ["digital signature", "client auth"]
    begun = first.certificate.not_valid_before_utc

    second = await node.until_current(first)
    life = first.certificate.not_valid_after_utc - begun
    assert life * 0.7 <= cluster.clock.now() - begun <= life * 0.9 + timedelta(minutes=1)
    assert second.key_pem != first.key_pem
    renewal = (await requested(cluster.client))[-1]
    assert renewal["spec"]["username"] == "system:node:n1"
    assert "system:nodes" in renewal["spec"]["groups"]
    assert node.bootstrapped[-1] is False
    link = node.directory / "kubelet-client-current.pem"
    assert link.is_symlink()
    assert link.read_bytes() == second.certificate_pem + second.key_pem


async def test_an_expired_certificate_asks_with_the_token_again(
    cluster: Cluster, node: Node
) -> None:
    await let_nodes_join(cluster.client)
    first = await node.until_current()
    # Nobody approves renewals while the certificate is good.
    await cluster.client.delete(CLUSTER_ROLE_BINDINGS, "renew")
    second = await node.until_current(first)
    assert cluster.clock.now() >= first.certificate.not_valid_after_utc
    assert node.bootstrapped[-1] is True
    # The first request is gone with its certificate.
    asked = [one["spec"]["username"] for one in await requested(cluster.client)]
    assert asked == ["system:node:n1", "system:bootstrap:abcdef"]
    assert second.certificate.not_valid_after_utc > first.certificate.not_valid_after_utc


async def test_a_kubelet_that_was_killed_goes_on_with_its_request(
    cluster: Cluster, node: Node
) -> None:
    await let_nodes_join(cluster.client)
    await cluster.client.delete(CLUSTER_ROLE_BINDINGS, "first")
    await asyncio.sleep(20)
    [request] = await requested(cluster.client)
    await node.kill()
    await decide(cluster.client, request["metadata"]["name"], "Approved")
    await asyncio.sleep(20)
    node.begin()
    await node.until_current()
    assert len(await requested(cluster.client)) == 1
    await node.kill()
    node.begin()
    assert node.manager.current is not None


async def test_a_denied_request_is_followed_by_another(cluster: Cluster, node: Node) -> None:
    await let_nodes_join(cluster.client)
    await cluster.client.delete(CLUSTER_ROLE_BINDINGS, "first")
    await asyncio.sleep(20)
    [request] = await requested(cluster.client)
    await decide(cluster.client, request["metadata"]["name"], "Denied")
    await asyncio.sleep(20)
    names = {one["metadata"]["name"] for one in await requested(cluster.client)}
    assert len(names) == 2
    assert node.manager.current is None


async def test_a_pair_from_elsewhere_is_replaced_at_once(
    cluster: Cluster, authority: CertificateAuthority, node: Node
) -> None:
    await node.kill()
    await let_nodes_join(cluster.client)
    given = authority.issue_client("kubernetes-admin", ["system:masters"])
    node.manager.start_from(given.certificate_pem, given.key_pem)
    assert node.manager.current == given
    node.task = asyncio.create_task(node.manager.run())
    await node.until_current(given)
    assert (await requested(cluster.client))[-1]["spec"]["username"] == "kubernetes-admin"


async def test_serving_certificates_wait_for_approval_and_follow_the_addresses(
    cluster: Cluster, node: Node, tmp_path: Path
) -> None:
    await let_nodes_join(cluster.client)
    await node.until_current()
    facts = NodeFacts("n1", ("10.0.0.1",))
    config = Config(root_dir=str(tmp_path))
    manager = serving_manager(node.client(), cluster.clock, config, facts)
    task = asyncio.create_task(manager.run())
    try:
        await asyncio.sleep(60)
        assert manager.current is None
        [asked] = await requested(cluster.client, "kubernetes.io/kubelet-serving")
        assert not objects.status(asked).get("conditions")
        await decide(cluster.client, asked["metadata"]["name"], "Approved")
        await cluster.wait_until(lambda: _truth(manager.current is not None))
        first = manager.current
        assert first is not None
        assert set(certificate_hosts(first.certificate)) == {"n1", "10.0.0.1"}

        facts.ips = ("10.0.0.2",)
        await asyncio.sleep(60)
        again = (await requested(cluster.client, "kubernetes.io/kubelet-serving"))[-1]
        assert again["metadata"]["name"] != asked["metadata"]["name"]
        assert manager.current == first
        await decide(cluster.client, again["metadata"]["name"], "Approved")
        await cluster.wait_until(lambda: _truth(manager.current != first))
        assert manager.current is not None
        assert set(certificate_hosts(manager.current.certificate)) == {"n1", "10.0.0.2"}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _truth(value: bool) -> bool:
    return value
