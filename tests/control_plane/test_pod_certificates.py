"""Certificates for pods: a node asks for them, renews them, and drops them with the pod."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from counted_node import Counted
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client import REGISTRY

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    NODES,
    POD_CERTIFICATE_REQUESTS,
    PODS,
    SERVICE_ACCOUNTS,
)
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.client import Client
from kybern.controllers import main as controllers
from kybern.controllers.config import Config as ControllersConfig
from kybern.kubelet.pod_certificates.manager import PodCertificates
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.testing import Cluster
from pod_signer import HOUR, SIGNER, PodSigner, signing_pods

API_SERVER = ApiServerConfig(
    runtime_config=("certificates.k8s.io/v1beta1=true",),
    feature_gates=("PodCertificateRequest=true",),
    enable_admission_plugins=("NodeRestriction",),
)
pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False, api_server=API_SERVER),
]
SOURCE = {
    "signerName": SIGNER,
    "keyType": "ED25519",
    "credentialBundlePath": "bundle.pem",
    "maxExpirationSeconds": 2 * HOUR,
    "userAnnotations": {"example.com/role": "web"},
}


class Node:
    """The part of a kubelet that has certificates for pods."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.transport = Counted(cluster)
        self.object: Obj = {}
        self.woken: list[str] = []
        self.events: list[tuple[str, str]] = []
        client = Client(self.transport, cluster.clock)
        self.certificates = PodCertificates(client, cluster.clock, lambda: self.object, self._event)
        self.certificates.on_change = self.woken.append

    def _event(self, pod: Obj, type: str, reason: str, message: str) -> None:
        assert type == "Warning"
        self.events.append((reason, message))

    async def pod(self, name: str, **source: Any) -> Obj:
        sources = [{"podCertificate": {**SOURCE, **source}}]
        pod = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": "n1",
                "automountServiceAccountToken": False,
                "containers": [{"name": "main", "image": "img"}],
                "volumes": [{"name": "v", "projected": {"sources": sources}}],
            },
        }
        return await self.cluster.client.create(PODS, pod)

    async def credentials(self, pod: Obj) -> tuple[bytes, bytes]:
        return await self.certificates.credentials(pod, "v", 0)

    async def changed(self, pod: Obj, before: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """The pod's credentials as soon as they are others."""

        async def differ() -> bool:
            return await self.credentials(pod) != before

        await self.cluster.wait_until(differ, patience=2 * HOUR)
        return await self.credentials(pod)

    async def refused(self, pod: Obj) -> str:
        with pytest.raises(VolumeError) as refused:
            await self.credentials(pod)
        return str(refused.value)

    async def until_event(self, reason: str) -> None:
        async def seen() -> bool:
            return reason in [one for one, _ in self.events]

        await self.cluster.wait_until(seen, patience=4 * HOUR)


@pytest.fixture
async def node(kybern_cluster: Cluster) -> AsyncIterator[Node]:
    client = kybern_cluster.client
    account = {"metadata": {"name": "default", "namespace": "default"}}
    await client.create(SERVICE_ACCOUNTS, account)
    made = Node(kybern_cluster)
    made.object = await client.create(NODES, {"metadata": {"name": "n1"}})
    yield made
    await made.certificates.close()


@pytest.fixture
async def signer(kybern_cluster: Cluster) -> AsyncIterator[PodSigner]:
    async with signing_pods(kybern_cluster.client, kybern_cluster.clock) as signer:
        yield signer


async def test_a_pod_gets_a_key_and_a_certificate_for_it(node: Node, signer: PodSigner) -> None:
    pod = await node.pod("web")
    key, chain = await node.credentials(pod)
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert chain.startswith(b"-----BEGIN CERTIFICATE-----\n")
    leaf = x509.load_pem_x509_certificate(chain)
    assert leaf.public_key() == load_pem_private_key(key, None).public_key()
    assert signer.authority.has_issued(leaf)
    (request,) = signer.seen
    uid = pod["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid}
    assert request["metadata"]["ownerReferences"] == [owner]
    assert request["metadata"]["generateName"] == "req-"
    spec = request["spec"]
    assert (spec["podName"], spec["podUID"], spec["nodeName"]) == ("web", uid, "n1")
    assert spec["serviceAccountName"] == "default"
    assert spec["maxExpirationSeconds"] == 2 * HOUR
    assert spec["unverifiedUserAnnotations"] == {"example.com/role": "web"}
    assert key not in base64.b64decode(spec["stubPKCS10Request"])
    assert (node.woken, node.events) == ([uid], [])


async def test_credentials_are_renewed_in_time(node: Node, signer: PodSigner) -> None:
    pod = await node.pod("web")
    clock = node.cluster.clock
    began, first = clock.time(), await node.credentials(pod)
    second = await node.changed(pod, first)
    assert 45 * 60 <= clock.time() - began <= 50 * 60 + 5
    assert (first[0] != second[0], first[1] != second[1]) == (True, True)
    third = await node.changed(pod, second)
    leaf = x509.load_pem_x509_certificate(third[1])
    assert leaf.not_valid_before_utc - clock.now() < timedelta(seconds=5)
    assert len(node.woken) == 3
    assert (len(signer.seen), node.events) == (3, [])


async def test_metrics_tell_how_many_certificates_are_in_which_state(
    node: Node, signer: PodSigner
) -> None:
    def count(state: str) -> float | None:
        labels = {"signer_name": SIGNER, "state": state}
        return REGISTRY.get_sample_value("kubelet_podcertificate_states", labels)

    first, second = await node.pod("first"), await node.pod("second")
    await node.credentials(first)
    signer.verdict = ""
    await node.refused(second)
    assert (count("fresh"), count("not_yet_issued")) == (1, 1)
    await node.until_event("CertificateOverdueForRefresh")
    assert (count("overdue_for_refresh"), count("fresh")) == (1, None)
    await node.until_event("CertificateExpired")
    assert count("expired") == 1
    node.certificates.forget(first["metadata"]["uid"])
    assert (count("expired"), count("not_yet_issued")) == (None, 1)


async def test_requests_are_watched_while_one_is_open_and_no_longer(
    node: Node, signer: PodSigner
) -> None:
    signer.verdict = ""
    pod = await node.pod("web")
    assert await node.refused(pod) == "credential bundle is not issued yet"
    assert node.transport.open == 1
    signer.verdict = "Issued"
    other = await node.pod("other")
    await node.credentials(other)
    assert node.transport.open == 1
    node.certificates.forget(pod["metadata"]["uid"])

    async def none_open() -> bool:
        return node.transport.open == 0

    await node.cluster.wait_until(none_open)


@pytest.mark.parametrize(("verdict", "words"), [("Denied", "was denied"), ("Failed", "failed")])
async def test_a_refusal_is_final(node: Node, signer: PodSigner, verdict: str, words: str) -> None:
    signer.verdict = verdict
    pod = await node.pod("web")
    text = (
        f"PodCertificateRequest was permanently {verdict.lower()}: "
        'reason="Tested" message="by a test"'
    )
    assert await node.refused(pod) == text
    name = signer.seen[0]["metadata"]["name"]
    message = f'PodCertificateRequest default/{name} {words}, reason="Tested", message="by a test"'
    assert node.events == [(verdict, message)]
    signer.verdict = "Issued"
    await asyncio.sleep(2 * HOUR)
    assert await node.refused(pod) == text
    assert len(signer.seen) == 1


async def test_a_renewal_that_is_refused_ends_the_credentials(
    node: Node, signer: PodSigner
) -> None:
    pod = await node.pod("web")
    await node.credentials(pod)
    signer.verdict = "Denied"
    await node.until_event("Denied")
    assert "permanently denied" in await node.refused(pod)
    assert [reason for reason, _ in node.events] == ["Denied"]


async def test_old_credentials_stay_while_nobody_answers_and_that_is_told(
    node: Node, signer: PodSigner
) -> None:
    pod = await node.pod("web")
    first = await node.credentials(pod)
    signer.verdict = ""
    await node.until_event("CertificateExpired")
    assert node.events == [
        ("CertificateOverdueForRefresh", "PodCertificate refresh overdue"),
        ("CertificateExpired", "PodCertificate expired"),
    ]
    assert await node.credentials(pod) == first


async def test_a_deleted_request_is_made_again(node: Node, signer: PodSigner) -> None:
    signer.verdict = ""
    pod = await node.pod("web")
    await node.refused(pod)
    signer.verdict = "Issued"
    name = signer.seen[0]["metadata"]["name"]
    await node.cluster.client.delete(POD_CERTIFICATE_REQUESTS, name, "default")

    async def issued() -> bool:
        return bool(node.woken)

    await node.cluster.wait_until(issued)
    await node.credentials(pod)
    assert len(signer.seen) == 2


async def test_a_server_that_is_away_is_asked_again(node: Node, signer: PodSigner) -> None:
    pod = await node.pod("web")
    node.transport.down = True
    assert await node.refused(pod) == "credential bundle is not issued yet"
    await asyncio.sleep(60)
    node.transport.down = False

    async def issued() -> bool:
        return bool(node.woken)

    await node.cluster.wait_until(issued, patience=HOUR)
    await node.credentials(pod)
    assert len(signer.seen) == 1


async def test_a_pod_that_is_gone_asks_for_nothing_more(node: Node, signer: PodSigner) -> None:
    pod = await node.pod("web")
    before = await node.credentials(pod)
    node.certificates.forget(pod["metadata"]["uid"])
    await asyncio.sleep(3 * HOUR)
    assert (len(signer.seen), node.events) == (1, [])
    assert await node.credentials(pod) != before


async def test_requests_that_nobody_answers_are_cleaned_up(node: Node, signer: PodSigner) -> None:
    signer.verdict = ""
    await node.refused(await node.pod("web"))
    cluster = node.cluster
    config = ControllersConfig(
        leader_elect=False, controllers=("podcertificaterequest-cleaner-controller",)
    )
    config.use_service_account_credentials = True
    task = asyncio.create_task(controllers.run(cluster.client, cluster.clock, config))
    try:
        name = signer.seen[0]["metadata"]["name"]
        began = cluster.clock.time()
        await cluster.wait_gone(POD_CERTIFICATE_REQUESTS, name, patience=HOUR)
        assert 890 < cluster.clock.time() - began < 910
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_node_asks_for_its_own_pods_only(node: Node, signer: PodSigner) -> None:
    client = Client(node.transport, node.cluster.clock)
    await node.credentials(await node.pod("web"))
    good = signer.seen[0]["spec"]

    async def answer(**changes: str) -> str:
        body = {"metadata": {"generateName": "req-"}, "spec": {**good, **changes}}
        with pytest.raises(StatusError) as refused:
            await client.create(POD_CERTIFICATE_REQUESTS, body, "default")
        return f"{refused.value.code} {refused.value.message}"

    text = await answer(nodeName="n2")
    assert text.startswith("403 ")
    assert 'NodeName="n2", which is not the requesting node "n1"' in text
    assert (await answer(nodeUID="other")).startswith("500 PodCertificateRequest for pod")
    assert 'contains pod UID ("other")' in await answer(podUID="other")
    assert 'pod "none" not found' in await answer(podName="none")
    assert 'serviceAccountName ("other") that differs' in await answer(serviceAccountName="other")
    assert 'names service account UID "other"' in await answer(serviceAccountUID="other")
    with pytest.raises(StatusError, match="with nodeName field selector"):
        await client.list_all(POD_CERTIFICATE_REQUESTS)
    name = signer.seen[0]["metadata"]["name"]
    assert (await client.get(POD_CERTIFICATE_REQUESTS, name, "default"))["spec"] == good
    with pytest.raises(StatusError, match="nodes may not delete podcertificaterequests"):
        await client.delete(POD_CERTIFICATE_REQUESTS, name, "default")
