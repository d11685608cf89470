"""Sources of projected volumes whose feature gate is off are dropped from pods and templates."""

import pytest

from kybern.api.errors import Obj
from kybern.api.resources import CRON_JOBS, DEPLOYMENTS, PODS, SERVICE_ACCOUNTS
from kybern.api.user import ADMIN
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.apiserver.server import ApiServer
from kybern.client import Client
from kybern.testing import Cluster

ON = ApiServerConfig(
    runtime_config=("certificates.k8s.io/v1beta1=true",),
    feature_gates=(
        "ClusterTrustBundle=true",
        "ClusterTrustBundleProjection=true",
        "PodCertificateRequest=true",
    ),
)
BUNDLE = {"clusterTrustBundle": {"name": "roots", "path": "roots.pem"}}
CERTIFICATE = {
    "podCertificate": {
        "signerName": "example.com/signer",
        "keyType": "ED25519",
        "credentialBundlePath": "bundle.pem",
    }
}
TOKEN = {"serviceAccountToken": {"path": "token"}}
pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False, api_server=ON),
]
OFF = pytest.mark.kybern(nodes=0, controllers=False, scheduler=False)


def pod_spec(*sources: Obj) -> Obj:
    return {
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": "img"}],
        "volumes": [{"name": "v", "projected": {"sources": list(sources)}}],
    }


def sources(spec: Obj) -> list[str]:
    return [next(iter(one), "") for one in spec["volumes"][0]["projected"]["sources"]]


def deployment(*of: Obj) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod_spec(*of)}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"metadata": {"name": "d", "namespace": "default"}, "spec": spec}


@pytest.fixture
async def client(kybern_cluster: Cluster) -> Client:
    account = {"metadata": {"name": "default", "namespace": "default"}}
    await kybern_cluster.client.create(SERVICE_ACCOUNTS, account)
    return kybern_cluster.client


async def make(client: Client, *of: Obj, name: str = "p") -> Obj:
    pod = {"metadata": {"name": name, "namespace": "default"}, "spec": pod_spec(*of)}
    return await client.create(PODS, pod)


@OFF
async def test_sources_that_are_off_are_dropped(client: Client) -> None:
    pod = await make(client, BUNDLE, TOKEN, CERTIFICATE)
    assert sources(pod["spec"]) == ["", "serviceAccountToken", ""]
    made = await client.create(DEPLOYMENTS, deployment(BUNDLE, CERTIFICATE))
    assert sources(made["spec"]["template"]["spec"]) == ["", ""]
    jobs = {"template": {"spec": {**pod_spec(CERTIFICATE), "restartPolicy": "Never"}}}
    spec = {"schedule": "* * * * *", "jobTemplate": {"spec": jobs}}
    cron = {"metadata": {"name": "c", "namespace": "default"}, "spec": spec}
    made = await client.create(CRON_JOBS, cron)
    assert sources(made["spec"]["jobTemplate"]["spec"]["template"]["spec"]) == [""]


async def test_sources_that_are_on_are_kept(client: Client) -> None:
    pod = await make(client, BUNDLE, TOKEN, CERTIFICATE)
    assert sources(pod["spec"]) == ["clusterTrustBundle", "serviceAccountToken", "podCertificate"]


async def test_what_had_them_before_keeps_them(kybern_cluster: Cluster, client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment(BUNDLE))
    without = ApiServer(ApiServerConfig(), kybern_cluster.store, kybern_cluster.clock)
    await without.start()
    try:
        later = Client.in_process(without.handler, ADMIN, kybern_cluster.clock)
        changed = {**made, "spec": {**deployment(BUNDLE, CERTIFICATE)["spec"], "replicas": 3}}
        done = await later.update(DEPLOYMENTS, changed)
        assert sources(done["spec"]["template"]["spec"]) == ["clusterTrustBundle", ""]
    finally:
        await without.close()
