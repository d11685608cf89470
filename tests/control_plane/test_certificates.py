"""Signing requests: kubelets' are approved, approved ones signed, old ones deleted."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from certificate_lab import decide, let_nodes_join, signing
from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import CERTIFICATE_SIGNING_REQUESTS
from kybern.api.user import AUTHENTICATED_GROUP, UserInfo
from kybern.component.clock import Clock
from kybern.component.pki import CertificateAuthority, generate_key
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=0, controllers=False)]

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"


def request(signer: str, user: str, group: str, *usages: str, **spec: object) -> Obj:
    attributes = [(NameOID.ORGANIZATION_NAME, group), (NameOID.COMMON_NAME, user)]
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = builder.sign(generate_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    body = {"signerName": signer, "request": base64.b64encode(pem).decode()}
    return {"metadata": {"name": "mine"}, "spec": {**body, "usages": list(usages), **spec}}


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    made = CertificateAuthority.create("kubernetes", Clock())
    made.pair.save(tmp_path, "ca")
    return made


@pytest.fixture
async def cluster(
    kybern_cluster: Cluster, authority: CertificateAuthority, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """A cluster whose controllers have a CA to sign with."""
    async with signing(kybern_cluster, tmp_path):
        yield kybern_cluster


def signed(one: Obj) -> bool:
    return bool(objects.status(one).get("certificate"))


def certificate(one: Obj) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(objects.status(one)["certificate"]))


async def test_a_node_renews_its_certificate_by_itself(
    cluster: Cluster, authority: CertificateAuthority
) -> None:
    node = UserInfo("system:node:n1", ("system:nodes", AUTHENTICATED_GROUP))
    made = request(KUBELET, "system:node:n1", "system:nodes", "digital signature", "client auth")
    await let_nodes_join(cluster.client)
    await cluster.client_as(node).create(CERTIFICATE_SIGNING_REQUESTS, made)
    done = await cluster.wait_for(CERTIFICATE_SIGNING_REQUESTS, "mine", signed)
    assert (objects.condition(done, "Approved") or {})["reason"] == "AutoApproved"
    issued = certificate(done)
    assert authority.has_issued(issued)
    names = issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert names[0].value == "system:node:n1"


async def test_an_approved_client_is_signed_and_the_request_goes(cluster: Cluster) -> None:
    made = request(CLIENT, "jane", "devs", "client auth", expirationSeconds=3600)
    await cluster.client.create(CERTIFICATE_SIGNING_REQUESTS, made)
    await decide(cluster.client, "mine", "Approved")
    done = await cluster.wait_for(CERTIFICATE_SIGNING_REQUESTS, "mine", signed)
    issued = certificate(done)
    life = issued.not_valid_after_utc - issued.not_valid_before_utc
    assert life.total_seconds() == 3600
    await cluster.wait_gone(CERTIFICATE_SIGNING_REQUESTS, "mine", patience=3700)


async def test_wrong_usages_fail(cluster: Cluster) -> None:
    made = request(CLIENT, "jane", "devs", "server auth")
    await cluster.client.create(CERTIFICATE_SIGNING_REQUESTS, made)
    await decide(cluster.client, "mine", "Approved")
    failed = await cluster.wait_for(
        CERTIFICATE_SIGNING_REQUESTS, "mine", lambda one: objects.condition_is(one, "Failed")
    )
    condition = objects.condition(failed, "Failed") or {}
    assert condition["reason"] == "SignerValidationFailure"
    assert condition["message"] == "invalid usage for client certificate: server auth"
    assert not signed(failed)
