"""A server with beta versions and feature gates switched on: over HTTPS, and its own part in it."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from kybern.api.resources import CLUSTER_TRUST_BUNDLES
from kybern.api.user import ADMIN, UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.main import run
from kybern.apiserver.server import ApiServer
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.controllers import main as controllers
from kybern.controllers.cluster_trust_bundle_publisher import SIGNER
from kybern.controllers.config import Config as ControllersConfig
from kybern.store.memory import MemoryStore

GROUP = "/apis/certificates.k8s.io"
BUNDLES = f"{GROUP}/v1beta1/clustertrustbundles"
SWITCHED = {
    "runtime_config": ("certificates.k8s.io/v1beta1=true", "resource.k8s.io/v1beta1=true"),
    "feature_gates": ("ClusterTrustBundle=true", "PodCertificateRequest=true"),
}
PATIENCE_SECONDS = 20.0


async def until_listening(config: Config) -> "asyncio.Task[None]":
    ready = asyncio.Event()
    serving = asyncio.create_task(run(config, Clock(), ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        waiting.cancel()
        serving.result()
    return serving


async def test_switched_versions_are_served_over_https(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path), secure_port=0, bind_address="127.0.0.1", **SWITCHED)
    serving = await until_listening(config)
    client = Client.from_kubeconfig(tmp_path / "kubeconfig", Clock())
    try:
        group = (await client.request("GET", GROUP)).json()
        assert [entry["version"] for entry in group["versions"]] == ["v1", "v1beta1"]
        assert group["preferredVersion"]["version"] == "v1"
        listed = (await client.request("GET", f"{GROUP}/v1beta1")).json()["resources"]
        assert [entry["name"] for entry in listed] == [
            "clustertrustbundles",
            "podcertificaterequests",
            "podcertificaterequests/status",
        ]
        openapi = (await client.request("GET", "/openapi/v3")).json()["paths"]
        assert "apis/certificates.k8s.io/v1beta1" in openapi
        metrics = (await client.request("GET", "/metrics")).body.decode()
        assert 'kubernetes_feature_enabled{name="ClusterTrustBundle",stage="BETA"} 1' in metrics
        assert 'apiserver_flowcontrol_current_limit_seats{priority_level="system"}' in metrics
        claim = {"metadata": {"name": "one"}, "spec": {"devices": {"requests": [REQUEST]}}}
        path = "/namespaces/default/resourceclaims"
        made = await client.request("POST", f"/apis/resource.k8s.io/v1beta1{path}", body=claim)
        assert made.status == 201
        assert "is deprecated in v1.35+, unavailable in v1.38+" in made.headers["warning"]
        assert made.headers["x-kubernetes-pf-flowschema-uid"]
        read = await client.request("GET", f"/apis/resource.k8s.io/v1{path}/one")
        exact = read.json()["spec"]["devices"]["requests"][0]["exactly"]
        assert exact == {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        discovery = f"{roles}/system:cluster-trust-bundle-discovery"
        assert (await client.request("GET", discovery)).status == 200
    finally:
        await client.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


REQUEST = {"name": "r", "deviceClassName": "c"}


async def test_without_a_switch_there_is_nothing() -> None:
    server = ApiServer(Config(), MemoryStore(), Clock(1))
    await server.start()
    client = Client.in_process(server.handler, ADMIN, Clock(1))
    try:
        assert (await client.request("GET", BUNDLES)).status == 404
        group = (await client.request("GET", GROUP)).json()
        assert [entry["version"] for entry in group["versions"]] == ["v1"]
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"runtime_config": ("scheduling.k8s.io/v1alpha2=true",)}, "has not been registered"),
        ({"feature_gates": ("GenericWorkload=true",)}, "GenericWorkload=true"),
    ],
)
def test_a_server_refuses_to_start_with_what_it_does_not_have(
    flags: dict[str, tuple[str, ...]], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        ApiServer(Config(**flags), MemoryStore(), Clock(1))


async def test_the_servers_ca_is_published_as_a_trust_bundle(tmp_path: Path) -> None:
    clock = Clock(1)
    server = ApiServer(Config(**SWITCHED), MemoryStore(), clock)
    await server.start()
    client = Client.in_process(server.handler, ADMIN, clock)
    pki.load_or_create_authority(tmp_path, "ca", "kubernetes", clock)
    ca = tmp_path / "ca.crt"
    stale = {
        "metadata": {"name": f"{SIGNER.replace('/', ':')}:stale"},
        "spec": {"signerName": SIGNER, "trustBundle": ca.read_text()},
    }
    assert (await client.request("POST", BUNDLES, body=stale)).status == 201
    manager = Client.in_process(
        server.handler, UserInfo("system:kube-controller-manager", ("system:authenticated",)), clock
    )
    name = "kube-apiserver-serving-clustertrustbundle-publisher-controller"
    config = ControllersConfig(leader_elect=False, root_ca_file=str(ca))
    config.controllers = (name, "serviceaccount-controller")
    running = asyncio.create_task(controllers.run(manager, clock, config))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                listed = (await client.list(CLUSTER_TRUST_BUNDLES))["items"]
                if [one["metadata"]["name"] for one in listed] != [stale["metadata"]["name"]]:
                    break
                await asyncio.sleep(0.01)
            while len(listed) != 1:
                await asyncio.sleep(0.01)
                listed = (await client.list(CLUSTER_TRUST_BUNDLES))["items"]
        assert listed[0]["spec"] == {"signerName": SIGNER, "trustBundle": ca.read_text()}
        assert listed[0]["metadata"]["name"].startswith("kubernetes.io:kube-apiserver-serving:")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await manager.close()
        await client.close()
        await server.close()


async def test_only_those_who_may_sign_answer_a_pod_certificate_request() -> None:
    clock = Clock(1)
    server = ApiServer(Config(**SWITCHED), MemoryStore(), clock)
    await server.start()
    admin = Client.in_process(server.handler, ADMIN, clock)
    signer = Client.in_process(server.handler, UserInfo("jane", ("system:authenticated",)), clock)
    try:
        for kind, body in (("clusterroles", ROLE), ("clusterrolebindings", BINDING)):
            path = f"/apis/rbac.authorization.k8s.io/v1/{kind}"
            assert (await admin.request("POST", path, body=body)).status == 201
        path = f"{GROUP}/v1beta1/namespaces/default/podcertificaterequests"
        made = await admin.request("POST", path, body=pod_request())
        assert made.status == 201
        denied = {**made.json(), "status": {"conditions": [DENIED]}}
        refused = await signer.request("PUT", f"{path}/one/status", body=denied)
        assert refused.status == 422
        assert 'User "jane" is not permitted to "sign" for signer' in refused.json()["message"]
        assert (await admin.request("PUT", f"{path}/one/status", body=denied)).status == 200
    finally:
        await admin.close()
        await signer.close()
        await server.close()


ROLE = {
    "metadata": {"name": "answering"},
    "rules": [
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["podcertificaterequests/status"],
            "verbs": ["*"],
        }
    ],
}
BINDING = {
    "metadata": {"name": "answering"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "answering",
    },
    "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
}
DENIED = {
    "type": "Denied",
    "status": "True",
    "reason": "Policy",
    "message": "no",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def pod_request() -> dict[str, Any]:
    """A request for a certificate with an empty PKCS#10 request of a new key."""
    key = ed25519.Ed25519PrivateKey.generate()
    stub = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, None)
    encoded = base64.b64encode(stub.public_bytes(Encoding.DER)).decode()
    spec = {
        "signerName": "example.com/signer",
        "podName": "web",
        "podUID": "u-1",
        "serviceAccountName": "default",
        "serviceAccountUID": "u-2",
        "nodeName": "node-1",
        "nodeUID": "u-3",
        "stubPKCS10Request": encoded,
    }
    return {"metadata": {"name": "one"}, "spec": spec}
