"""Kinds that only beta and alpha versions have, and forms that differ in them."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from kind_lifecycle import created, decoded, served, updated

from kybern.api.errors import Obj
from kybern.api.objects import copy

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(*, ca: bool = True, hours: int = 24) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "someone")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(hours=hours))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    signed = builder.sign(KEY, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


CA = certificate()


def bundle(name: str, text: str = CA, signer: str = "") -> Obj:
    spec = {"trustBundle": text, **({"signerName": signer} if signer else {})}
    return {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": name},
        "spec": spec,
    }


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        (bundle("plain"), []),
        (bundle("example.com:signer:one", signer="example.com/signer"), []),
        (bundle("a:b"), ['without signer name must not have ":" in its name']),
        (bundle("one", signer="example.com/signer"), ["must be named with prefix"]),
        (bundle("signer:one", signer="signer"), ["must be a fully qualified domain and path"]),
        (bundle("none", "nothing"), ["at least one trust anchor must be provided"]),
        (bundle("twice", CA + CA), ["duplicate trust anchor (indices [0 1])"]),
        (bundle("leaf", certificate(ca=False)), ["entry 0 does not have the CA bit set"]),
        (
            bundle("key", CA.replace("CERTIFICATE", "KEY")),
            ["entry 0 has bad block type: KEY"],
        ),
        (
            bundle("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ["entry 0 does not parse as X.509"],
        ),
    ],
)
def test_trust_bundles_hold_authorities(given: Obj, texts: list[str]) -> None:
    _, errors = created(given)
    assert len(errors) == len(texts)
    for error, text in zip(errors, texts, strict=True):
        assert text in str(error)


def request(**spec: object) -> Obj:
    held = {
        "signerName": "example.com/signer",
        "podName": "web",
        "podUID": "u-1",
        "serviceAccountName": "default",
        "serviceAccountUID": "u-2",
        "nodeName": "node-1",
        "nodeUID": "u-3",
        **(spec or proof(KEY)),
    }
    return {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "PodCertificateRequest",
        "metadata": {"name": "one"},
        "spec": held,
    }


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def proof(key: ec.EllipticCurvePrivateKey, signed: bytes = b"u-1") -> dict[str, str]:
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return {"pkixPublicKey": encoded(public), "proofOfPossession": encoded(signature)}


def stub() -> str:
    made = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(
        ed25519.Ed25519PrivateKey.generate(), None
    )
    return encoded(made.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        (request(), []),
        (request(stubPKCS10Request=stub()), []),
        (request(**proof(KEY, b"another")), ["could not verify proof-of-possession signature"]),
        (request(stubPKCS10Request="AAAA"), ["must be a valid PKCS#10 CSR"]),
        (request(podUID=""), ["must not be empty", "exactly one of (stubPKCS10Request)"]),
        (
            request(**proof(KEY), maxExpirationSeconds=60),
            ["must be in the range [3600, 7862400]"],
        ),
        (
            request(**proof(KEY), signerName="kubernetes.io/x", maxExpirationSeconds=90000),
            ["must be in the range [3600, 86400]"],
        ),
        (
            request(**proof(ec.generate_private_key(ec.SECP224R1()))),
            ['"curve P-224": elliptic public keys must use curve P256 or P384'],
        ),
        (
            request(**proof(ec.generate_private_key(ec.SECP256K1()))),
            ["must be a valid PKIX-serialized public key"],
        ),
    ],
)
def test_pod_certificate_requests_prove_their_key(given: Obj, texts: list[str]) -> None:
    stored, errors = created(given)
    assert len(errors) == len(texts)
    for error, text in zip(errors, texts, strict=True):
        assert text in str(error)
    assert stored["spec"]["maxExpirationSeconds"] >= 60


def answered(**status: object) -> tuple[Obj, list[str]]:
    """A pending request whose status is written, and the errors of that."""
    old, _ = created(request())
    old["metadata"]["resourceVersion"] = "1"
    new = copy(old)
    new["status"] = dict(status)
    strategy = served(request()).strategy
    strategy.prepare_for_status_update(new, old)
    return new, [str(error) for error in strategy.validate_status_update(new, old)]


def verdict(kind: str) -> list[Obj]:
    condition = {"type": kind, "status": "True", "reason": "Because", "message": ""}
    return [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]


TIMES = {
    "notBefore": "2026-01-01T00:00:00Z",
    "notAfter": "2026-01-02T00:00:00Z",
    "beginRefreshAt": "2026-01-01T12:00:00Z",
}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"conditions": verdict("Denied")}, ""),
        ({"conditions": verdict("Issued"), "certificateChain": CA, **TIMES}, ""),
        ({"conditions": verdict("Ready")}, 'supported values: "Issued", "Denied", "Failed"'),
        ({"conditions": verdict("Issued")}, "must contain at least one certificate"),
        ({"conditions": verdict("Failed"), **TIMES}, "must be empty when denying or failing"),
        (TIMES, "status is immutable unless transitioning"),
        (
            {"conditions": verdict("Issued"), "certificateChain": CA},
            "must be present and consistent with the issued certificate",
        ),
        (
            {
                "conditions": verdict("Issued"),
                "certificateChain": CA,
                **TIMES,
                "beginRefreshAt": "2026-01-01T00:05:00Z",
            },
            "must be at least 10 minutes after status.notBefore",
        ),
    ],
)
def test_an_answer_fits_the_request(status: dict[str, object], text: str) -> None:
    _, errors = answered(**status)
    assert bool(errors) is bool(text)
    assert text in " ".join(errors)


def candidate(**spec: str) -> Obj:
    return {
        "apiVersion": "coordination.k8s.io/v1beta1",
        "kind": "LeaseCandidate",
        "metadata": {"name": "one"},
        "spec": {
            "leaseName": "lease",
            "binaryVersion": "1.36.0",
            "emulationVersion": "1.35.0",
            "strategy": "OldestEmulationVersion",
            **spec,
        },
    }


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, ""),
        ({"strategy": "example.com/Mine"}, ""),
        ({"binaryVersion": "1.34.0"}, "must be greater than or equal to `emulationVersion`"),
        ({"binaryVersion": "v1"}, "must be a valid semantic version"),
        ({"emulationVersion": ""}, "must be specified when `strategy` is"),
        ({"strategy": "Newest"}, "Unsupported value"),
        ({"leaseName": ""}, "spec.leaseName: Required value"),
    ],
)
def test_lease_candidates_tell_their_versions(spec: dict[str, str], text: str) -> None:
    _, errors = created(candidate(**spec))
    assert text in " ".join(map(str, errors))
    assert bool(errors) is bool(text)


def test_the_lease_of_a_candidate_is_fixed() -> None:
    _, errors = updated(candidate(), lambda o: o["spec"].update(leaseName="other"))
    assert "field is immutable" in str(errors[0])


def claim(request_: Obj) -> Obj:
    return {
        "apiVersion": "resource.k8s.io/v1beta1",
        "kind": "ResourceClaim",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"devices": {"requests": [request_]}},
    }


@pytest.mark.parametrize(
    ("beta", "stored"),
    [
        (
            {"name": "r", "deviceClassName": "c"},
            {
                "name": "r",
                "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1},
            },
        ),
        (
            {"name": "r", "firstAvailable": [{"name": "s", "deviceClassName": "c", "count": 2}]},
            {
                "name": "r",
                "firstAvailable": [
                    {
                        "name": "s",
                        "deviceClassName": "c",
                        "count": 2,
                        "allocationMode": "ExactCount",
                    }
                ],
            },
        ),
    ],
)
def test_requests_of_claims_are_converted_and_back(beta: Obj, stored: Obj) -> None:
    kept = decoded(claim(beta))
    assert kept["apiVersion"] == "resource.k8s.io/v1"
    assert kept["spec"]["devices"]["requests"] == [stored]
    shown = served(claim(beta)).from_storage(kept)
    flat = shown["spec"]["devices"]["requests"][0]
    assert flat.keys() - {"allocationMode", "count"} == beta.keys() | {"deviceClassName"}
    assert served(claim(beta)).to_storage(shown) == kept


def test_devices_of_slices_are_converted_and_back() -> None:
    basic = {"attributes": {"model": {"string": "x"}}}
    beta = {
        "apiVersion": "resource.k8s.io/v1beta1",
        "kind": "ResourceSlice",
        "metadata": {"name": "one"},
        "spec": {
            "driver": "example.com",
            "nodeName": "node",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "d", "basic": basic}],
        },
    }
    kept = decoded(beta)
    assert kept["spec"]["devices"] == [{"name": "d", **basic}]
    assert served(beta).from_storage(kept)["spec"]["devices"] == [{"name": "d", "basic": basic}]


def test_versions_of_one_form_differ_in_their_name_only() -> None:
    for kind, version, spec in (
        ("ServiceCIDR", "networking.k8s.io/v1beta1", {"cidrs": ["10.0.0.0/24"]}),
        ("DeviceTaintRule", "resource.k8s.io/v1beta2", {"taint": {"key": "k", "effect": "None"}}),
    ):
        obj = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
        kept, errors = created(obj)
        assert errors == []
        assert served(obj).from_storage(kept) == {**kept, "apiVersion": version}


def test_a_storage_version_tells_what_servers_can_read() -> None:
    obj = {
        "apiVersion": "internal.apiserver.k8s.io/v1alpha1",
        "kind": "StorageVersion",
        "metadata": {"name": "apps.deployments"},
        "spec": {},
    }
    old, errors = created(obj)
    assert errors == []
    old["metadata"]["resourceVersion"] = "1"
    new = copy(old)
    server = {"apiServerID": "a", "encodingVersion": "apps/v1", "decodableVersions": ["v1"]}
    new["status"] = {"storageVersions": [server]}
    strategy = served(obj).strategy
    errors = strategy.validate_status_update(new, old)
    assert [error.field for error in errors] == [
        "status.storageVersions[0].decodableVersions",
        "status.commonEncodingVersion",
    ]
