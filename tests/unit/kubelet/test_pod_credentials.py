"""Keys of pods and the files that trust bundles and certificates become."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from kubelet_pods import container, pod

from kybern.api.errors import Obj
from kybern.api.kinds.certificates.pod_certificates import check_key_proof
from kybern.kubelet.pod_certificates.keys import Keys
from kybern.kubelet.volumes.atomic_files import File
from kybern.kubelet.volumes.payloads import Payloads, VolumeError


def strength(key: Any) -> object:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.curve.name
    if isinstance(key, rsa.RSAPrivateKey):
        return key.key_size
    return isinstance(key, ed25519.Ed25519PrivateKey)


@pytest.mark.parametrize(
    ("key_type", "wanted"),
    [
        ("RSA3072", 3072),
        ("RSA4096", 4096),
        ("ECDSAP256", "secp256r1"),
        ("ECDSAP384", "secp384r1"),
        ("ECDSAP521", "secp521r1"),
        ("ED25519", True),
    ],
)
async def test_a_key_proves_that_it_is_held(key_type: str, wanted: object) -> None:
    made = await Keys().make(key_type)
    assert made.pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert strength(load_pem_private_key(made.pem, None)) == wanted
    stub = base64.b64encode(made.stub).decode()
    assert check_key_proof({"stubPKCS10Request": stub}) == []


async def test_nobody_makes_keys_of_unknown_types() -> None:
    with pytest.raises(ValueError, match='unknown key type "DSA"'):
        await Keys().make("DSA")


class Known:
    """Bundles and certificates that are there at once."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    async def anchors(self, pod: Obj, source: Obj) -> bytes:
        return b"roots"

    async def credentials(self, pod: Obj, volume: str, index: int) -> tuple[bytes, bytes]:
        return f"key of {volume} {index},".encode(), b"chain"

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)


def mounts(*sources: Obj, mode: int = 0o640) -> Obj:
    return {"name": "v", "projected": {"defaultMode": mode, "sources": list(sources)}}


BUNDLE = {"clusterTrustBundle": {"name": "x", "path": "roots.pem"}}


async def shown(payloads: Payloads, volume: Obj, of: Obj | None = None) -> dict[str, File]:
    return await payloads.projected(of or pod(), volume, {}, {})


def payloads(known: Known | None) -> Payloads:
    nothing: Any = None
    return Payloads(nothing, nothing, known, known)


async def test_each_part_of_the_credentials_goes_where_it_is_wanted() -> None:
    both = {"credentialBundlePath": "all", "keyPath": "k", "certificateChainPath": "c"}
    volume = mounts(BUNDLE, {"podCertificate": {"keyPath": "k1"}}, {}, {"podCertificate": both})
    files = await shown(payloads(Known()), volume)
    assert {name: file.data for name, file in files.items()} == {
        "roots.pem": b"roots",
        "k1": b"key of v 1,",
        "all": b"key of v 3,chain",
        "k": b"key of v 3,",
        "c": b"chain",
    }
    assert {file.mode for file in files.values()} == {0o640}


async def test_the_files_are_the_pods_own_users() -> None:
    volume = mounts(BUNDLE, {"podCertificate": {"keyPath": "k"}})
    user = pod(container(securityContext={"runAsUser": 7}))
    files = await shown(payloads(Known()), volume, user)
    assert {(file.mode, file.owner) for file in files.values()} == {(0o600, 7)}
    group = pod(securityContext={"fsGroup": 8})
    files = await shown(payloads(Known()), volume, group)
    assert {(file.mode, file.owner) for file in files.values()} == {(0o600, -1)}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (BUNDLE, "ClusterTrustBundle projection is not supported in static kubelet mode"),
        ({"podCertificate": {"keyPath": "k"}}, "unimplemented"),
    ],
)
async def test_what_is_switched_off_is_refused(source: Obj, text: str) -> None:
    with pytest.raises(VolumeError) as refused:
        await shown(payloads(None), mounts(source))
    assert str(refused.value) == text


def test_both_are_told_that_a_pod_is_gone() -> None:
    known = Known()
    payloads(known).forget("u1")
    assert known.forgotten == ["u1", "u1"]
