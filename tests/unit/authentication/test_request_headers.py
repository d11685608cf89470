"""A proxy's word about the user counts only with the proxy's certificate."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kybern.apiserver.authentication.request_headers import HeaderNames, RequestHeaders
from kybern.component.client_certificates import ClientCertificates
from kybern.component.clock import Clock
from kybern.component.http.messages import Request
from kybern.component.pki import CertificateAuthority, load_or_create_authority

NAMES = HeaderNames(["x-remote-user"], ["x-remote-uid"], ["x-remote-group"], ["x-remote-extra-"])
HEADERS = {
    "x-remote-user": "jane",
    "x-remote-uid": "7",
    "x-remote-group": "devs\nops, too",
    "x-remote-extra-acme.io%2fscopes": "view",
    "accept": "*/*",
}


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return load_or_create_authority(tmp_path / "proxy", "ca", "front-proxy-ca", Clock(1))


def certificate(authority: CertificateAuthority, name: str) -> bytes:
    pem = authority.issue_client(name, ()).certificate_pem
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def believing(authority: CertificateAuthority, *allowed: str) -> RequestHeaders:
    proxies = ClientCertificates(authority.certificate_pem, Clock(1))
    return RequestHeaders(proxies, allowed, NAMES)


def test_a_trusted_proxy_names_the_user(authority: CertificateAuthority) -> None:
    request = Request("GET", "/", "", HEADERS, peer_certificate=certificate(authority, "proxy"))
    for allowed in ((), ("proxy",)):
        user = believing(authority, *allowed).user(request)
        assert user is not None
        assert (user.name, user.uid) == ("jane", "7")
        assert user.groups == ("devs", "ops, too", "system:authenticated")
        assert user.extra == {"acme.io/scopes": ("view",)}


def test_nobody_else_is_believed(authority: CertificateAuthority, tmp_path: Path) -> None:
    other = load_or_create_authority(tmp_path / "other", "ca", "front-proxy-ca", Clock(1))
    trusting = believing(authority, "proxy")
    assert trusting.user(Request("GET", "/", "", HEADERS)) is None
    for stranger in (certificate(authority, "other"), certificate(other, "proxy")):
        request = Request("GET", "/", "", HEADERS, peer_certificate=stranger)
        assert trusting.user(request) is None


def test_a_proxy_that_names_nobody(authority: CertificateAuthority) -> None:
    request = Request("GET", "/", peer_certificate=certificate(authority, "proxy"))
    assert believing(authority).user(request) is None


def test_the_headers_go_no_further() -> None:
    assert NAMES.without(HEADERS) == {"accept": "*/*"}
