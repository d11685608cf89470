"""Who writes which part of a certificate signing request: requester, approver, signer."""

import base64

from api_lab import Lab, serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kybern.api.errors import Obj
from kybern.component.pki import generate_key

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def _pem(name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return built.sign(generate_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


async def _requested(lab: Lab) -> Obj:
    spec = {
        "request": base64.b64encode(_pem("jane")).decode(),
        "signerName": "example.com/signer",
        "usages": ["client auth"],
    }
    made = await lab.call("POST", PATH, {"metadata": {"name": "a"}, "spec": spec})
    assert made.status == 201
    return made.json()


def _with(request: Obj, *types: str) -> Obj:
    conditions = [{"type": name, "status": "True"} for name in types]
    return {**request, "status": {"conditions": conditions}}


async def test_approval_dates_its_conditions_and_keeps_them() -> None:
    async with serving() as lab:
        await _requested(lab)
        current = (await lab.call("GET", f"{PATH}/a")).json()
        answer = await lab.call("PUT", f"{PATH}/a/approval", _with(current, "Approved"))
        assert answer.status == 200
        [condition] = answer.json()["status"]["conditions"]
        assert condition["lastUpdateTime"] == condition["lastTransitionTime"] != ""
        emptied = {**answer.json(), "status": {}}
        assert (await lab.call("PUT", f"{PATH}/a/approval", emptied)).status == 422


async def test_the_status_takes_conditions_beside_the_decision() -> None:
    async with serving() as lab:
        current = await _requested(lab)
        approved = (await lab.call("PUT", f"{PATH}/a/approval", _with(current, "Approved"))).json()
        answer = await lab.call("PUT", f"{PATH}/a/status", _with(approved, "Approved", "Checked"))
        assert answer.status == 200
        decision, checked = answer.json()["status"]["conditions"]
        assert decision == approved["status"]["conditions"][0]
        assert checked["lastUpdateTime"]
        denied = _with(answer.json(), "Approved", "Denied")
        assert (await lab.call("PUT", f"{PATH}/a/status", denied)).status == 422


async def test_a_review_is_no_table() -> None:
    async with serving() as lab:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        assert (await lab.call("POST", path, review, accept=table)).status == 406
