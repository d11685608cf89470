"""Trust bundles and certificates in pods: a real kubelet, server, signer and containers."""

import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from cryptography import x509
from node_process import NodeProcess, open_node_process

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import CLUSTER_TRUST_BUNDLES, EVENTS, PODS
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.component.pki import CertificateAuthority
from pod_signer import SIGNER, PodSigner, signing_pods

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

GATES = (
    "ClusterTrustBundle=true",
    "ClusterTrustBundleProjection=true",
    "PodCertificateRequest=true",
)
API_SERVER = ApiServerConfig(
    runtime_config=("certificates.k8s.io/v1beta1=true",),
    feature_gates=GATES,
    enable_admission_plugins=("NodeRestriction",),
)
FLAGS = (f"--feature-gates={','.join(GATES)}",)
USER = 1000
SOURCES = [
    {"clusterTrustBundle": {"signerName": SIGNER, "labelSelector": {}, "path": "roots.pem"}},
    {
        "podCertificate": {
            "signerName": SIGNER,
            "keyType": "ECDSAP256",
            "credentialBundlePath": "bundle.pem",
            "keyPath": "own/key.pem",
            "certificateChainPath": "own/chain.pem",
        }
    },
]


class Lab:
    """A node, and somebody who signs for its pods."""

    def __init__(self, node: NodeProcess, signer: PodSigner) -> None:
        self.node = node
        self.signer = signer

    async def pod(self, name: str) -> tuple[Obj, Path]:
        """A pod that mounts everything, and its volume on the node."""
        mounts = [{"name": "v", "mountPath": "/v"}]
        script = f"cat /v/bundle.pem /v/roots.pem && echo read; {STAY}"
        spec = {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsUser": USER},
            "containers": [shell(script, volumeMounts=mounts)],
            "volumes": [{"name": "v", "projected": {"sources": SOURCES}}],
        }
        body = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
        made = await self.node.client.create(PODS, body)
        volumes = self.node.root / "pods" / objects.uid(made) / "volumes"
        return made, volumes / "kubernetes.io~projected" / "v"

    async def ready(self, name: str) -> Obj:
        def is_ready(pod: Obj) -> bool:
            return objects.condition_is(pod, "Ready")

        return await self.node.cluster.wait_for(PODS, name, is_ready)

    async def messages(self, name: str, reason: str) -> list[str]:
        events, _ = await self.node.client.list_all(EVENTS, "default")
        return [
            event["message"]
            for event in events
            if event["involvedObject"]["name"] == name and event["reason"] == reason
        ]

    async def until_told(self, name: str, reason: str) -> str:
        async def told() -> bool:
            return bool(await self.messages(name, reason))

        await until(told, f"an event {reason} of {name}")
        return (await self.messages(name, reason))[0]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with (
        open_node_process(*FLAGS, api_server=API_SERVER) as node,
        signing_pods(node.client, node.cluster.clock) as signer,
    ):
        await signer.publish()
        yield Lab(node, signer)


def reads(path: Path, accepts: Callable[[bytes], bool]) -> Callable[[], bool]:
    return lambda: accepts(path.read_bytes())


async def test_a_pod_trusts_and_is_known(lab: Lab) -> None:
    _, volume = await lab.pod("web")
    pod = await lab.ready("web")
    bundle = (volume / "bundle.pem").read_bytes()
    key, chain = (volume / "own/key.pem").read_bytes(), (volume / "own/chain.pem").read_bytes()
    assert bundle == key + chain
    leaf = x509.load_pem_x509_certificate(chain)
    roots = x509.load_pem_x509_certificates((volume / "roots.pem").read_bytes())
    assert lab.signer.authority.pair.certificate in roots
    assert lab.signer.authority.has_issued(leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # OpenSSL's own judgement that the key belongs to the certificate.
    context.load_cert_chain(volume / "bundle.pem")
    for name in ("bundle.pem", "own/key.pem", "own/chain.pem", "roots.pem"):
        found = (volume / name).stat()
        assert (found.st_uid, found.st_mode & 0o777) == (USER, 0o600)
    assert subprocess.check_output(["stat", "-f", "-c", "%T", volume], text=True) == "tmpfs\n"
    assert objects.name(pod) == "web"
    assert await lab.messages("web", "FailedMount") == []

    other = CertificateAuthority.create("another authority", lab.node.cluster.clock)
    name = f"{SIGNER.replace('/', ':')}:pods"
    both = lab.signer.authority.certificate_pem + other.certificate_pem
    patch = {"spec": {"trustBundle": both.decode()}}
    await lab.node.client.patch(CLUSTER_TRUST_BUNDLES, name, patch)
    await until(
        reads(volume / "roots.pem", lambda pem: pem.count(b"BEGIN") == 2), "the new authority"
    )
    assert (volume / "bundle.pem").read_bytes() == bundle

    lab.node.kill()
    lab.node.start(*FLAGS)
    await until(reads(volume / "bundle.pem", lambda pem: pem != bundle), "new credentials")
    context.load_cert_chain(volume / "bundle.pem")
    assert (await lab.ready("web"))["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_pod_whose_certificate_is_denied_is_told_why(lab: Lab) -> None:
    lab.signer.verdict = "Denied"
    _, volume = await lab.pod("stranger")
    try:
        text = await lab.until_told("stranger", "Denied")
        assert text.endswith('was denied, reason="Tested", message="by a test"')
        assert await lab.until_told("stranger", "FailedMount") == (
            'MountVolume.SetUp failed for volume "v" : PodCertificateRequest was permanently '
            'denied: reason="Tested" message="by a test"'
        )
        assert not (volume / "..data").exists()
    finally:
        lab.signer.verdict = "Issued"
    await lab.node.gone("stranger")
    await until(lambda: not os.path.lexists(volume), "its volume is gone")
