"""ClusterTrustBundles that a node's pods mount: selected, normalised, and followed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from counted_node import Counted

from kybern.api.errors import Obj
from kybern.api.resources import CLUSTER_TRUST_BUNDLES
from kybern.api.validation.pem import pem_blocks
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.client import Client
from kybern.component.clock import Clock
from kybern.component.pki import CertificateAuthority
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.trust_bundles import TrustBundles
from kybern.testing import Cluster

SIGNER = "example.com/signer"
GATES = ("ClusterTrustBundle=true",)
BETA = ApiServerConfig(runtime_config=("certificates.k8s.io/v1beta1=true",), feature_gates=GATES)
ALPHA = ApiServerConfig(runtime_config=("certificates.k8s.io/v1alpha1=true",), feature_gates=GATES)


def lab(api_server: ApiServerConfig) -> Any:
    return pytest.mark.kybern(nodes=0, controllers=False, scheduler=False, api_server=api_server)


pytestmark = [pytest.mark.virtual_time, lab(BETA)]
PEMS = [CertificateAuthority.create(f"a{i}", Clock()).certificate_pem.decode() for i in range(4)]


class Node:
    """The part of a kubelet that reads trust bundles."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.transport = Counted(cluster)
        self.bundles = TrustBundles(Client(self.transport, cluster.clock), cluster.clock)
        self.woken: list[str] = []
        self.bundles.on_change = self.woken.append

    async def anchors(self, pod: str, **source: Any) -> str:
        found = await self.bundles.anchors({"metadata": {"uid": pod}}, source)
        return found.decode()

    async def refused(self, **source: Any) -> str:
        with pytest.raises(VolumeError) as refused:
            await self.anchors("p", **source)
        return str(refused.value)

    async def until_woken(self, *pods: str) -> None:
        async def woken() -> bool:
            return self.woken == list(pods)

        await self.cluster.wait_until(woken)


@pytest.fixture
async def node(kybern_cluster: Cluster) -> AsyncIterator[Node]:
    made = Node(kybern_cluster)
    yield made
    await made.bundles.close()


async def publish(cluster: Cluster, name: str, *pems: str, signer: str = "", **labels: str) -> None:
    spec: Obj = {"trustBundle": "".join(pems)}
    if signer:
        spec["signerName"] = signer
    bundle = {"metadata": {"name": name, "labels": labels}, "spec": spec}
    await cluster.client.create(CLUSTER_TRUST_BUNDLES, bundle)


def contents(text: str) -> list[bytes]:
    return [block.content for block in pem_blocks(text)]


async def test_a_bundle_by_name_is_normalised(kybern_cluster: Cluster, node: Node) -> None:
    await publish(kybern_cluster, "roots", "about these:\n", *PEMS)
    shown = await node.anchors("p", name="roots")
    assert sorted(contents(shown)) == sorted(contents("".join(PEMS)))
    assert "about" not in shown
    assert sorted(shown.split("-----END CERTIFICATE-----\n")) == sorted(
        "".join(PEMS).split("-----END CERTIFICATE-----\n")
    )
    assert shown == await node.anchors("q", name="roots")


async def test_a_signers_bundles_are_put_together_without_duplicates(
    kybern_cluster: Cluster, node: Node
) -> None:
    for name, pems, kind in (("one", PEMS[:2], "live"), ("two", PEMS[1:3], "live")):
        await publish(kybern_cluster, f"example.com:signer:{name}", *pems, signer=SIGNER, kind=kind)
    await publish(kybern_cluster, "example.com:other:x", PEMS[3], signer="example.com/other")
    everything = await node.anchors("p", signerName=SIGNER, labelSelector={})
    assert sorted(contents(everything)) == sorted(contents("".join(PEMS[:3])))
    live = {"matchLabels": {"kind": "live"}}
    assert await node.anchors("p", signerName=SIGNER, labelSelector=live) == everything
    absent = {"matchExpressions": [{"key": "kind", "operator": "DoesNotExist"}]}
    none = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
    assert await node.refused(signerName=SIGNER, labelSelector=absent) == none
    assert await node.refused(signerName=SIGNER) == none
    assert await node.anchors("p", signerName=SIGNER, optional=True) == ""


async def test_a_bundle_that_is_missing_may_be_optional(node: Node) -> None:
    assert await node.refused(name="none") == (
        'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "none" not found'
    )
    assert await node.anchors("p", name="none", optional=True) == ""


async def test_a_change_wakes_the_pods_that_mount_it(kybern_cluster: Cluster, node: Node) -> None:
    await publish(kybern_cluster, "roots", PEMS[0])
    await node.anchors("by name", name="roots")
    await node.anchors("other", name="absent", optional=True)
    await node.anchors("by signer", signerName=SIGNER, labelSelector={}, optional=True)
    assert node.woken == []
    patch = {"spec": {"trustBundle": PEMS[1]}}
    await kybern_cluster.client.patch(CLUSTER_TRUST_BUNDLES, "roots", patch)
    await node.until_woken("by name")
    assert contents(await node.anchors("by name", name="roots")) == contents(PEMS[1])
    await publish(kybern_cluster, "example.com:signer:x", PEMS[2], signer=SIGNER)
    await node.until_woken("by name", "by signer")
    await kybern_cluster.client.delete(CLUSTER_TRUST_BUNDLES, "roots")
    await node.until_woken("by name", "by signer", "by name")
    assert "not found" in await node.refused(name="roots")


async def test_bundles_are_watched_from_the_first_pod_to_the_last(
    kybern_cluster: Cluster, node: Node
) -> None:
    def watched(count: int) -> Any:
        async def holds() -> bool:
            return node.transport.open == count

        return holds

    await publish(kybern_cluster, "roots", PEMS[0])
    assert (node.transport.gets, node.transport.watches) == (0, 0)
    first = [await node.anchors(pod, name="roots") for pod in ("one", "two")]
    await kybern_cluster.wait_until(watched(1))
    node.bundles.forget("one")
    assert await node.anchors("two", name="roots") == first[0]
    assert node.transport.watches == 1
    node.bundles.forget("two")
    await kybern_cluster.wait_until(watched(0))
    assert await node.anchors("three", name="roots") == first[0]


@lab(ApiServerConfig())
async def test_a_server_without_the_kind_is_told_of(node: Node) -> None:
    text = "ClusterTrustBundle projection is not supported in static kubelet mode"
    assert await node.refused(name="roots") == text
    assert await node.refused(name="roots", optional=True) == text
    assert node.transport.watches == 0


@lab(ALPHA)
async def test_a_server_that_has_the_old_version_only_is_understood(
    kybern_cluster: Cluster, node: Node
) -> None:
    alpha = CLUSTER_TRUST_BUNDLES._replace(version="v1alpha1")
    bundle = {"metadata": {"name": "roots"}, "spec": {"trustBundle": PEMS[0]}}
    await kybern_cluster.client.create(alpha, bundle)
    assert contents(await node.anchors("p", name="roots")) == contents(PEMS[0])
