"""The node's certificates on disk, when they are renewed, and what a kubeconfig is worth."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig
from kybern.component.pki import CertificateAuthority, InvalidPair, KeyPair
from kybern.kubelet.certificates.client import connect, is_usable
from kybern.kubelet.certificates.manager import rotation_deadline
from kybern.kubelet.certificates.requests import CLIENT, SERVING, Template, request_name
from kybern.kubelet.certificates.serving import hosts_of
from kybern.kubelet.certificates.store import CertificateStore
from kybern.kubelet.config import Config

LATER = timedelta(seconds=1)


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("kubernetes", Clock())


@pytest.fixture
def pair(authority: CertificateAuthority) -> KeyPair:
    return authority.issue_client("system:node:n1", ["system:nodes"])


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    return CertificateStore(tmp_path, "kubelet-client")


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.7), (0.5, 0.8), (1.0, 0.9)])
def test_a_certificate_is_renewed_late_in_its_life(
    pair: KeyPair, chance: float, part: float
) -> None:
    start = pair.certificate.not_valid_before_utc
    life = pair.certificate.not_valid_after_utc - start
    deadline = rotation_deadline(pair.certificate, chance)
    assert abs(deadline - (start + life * part)) < LATER


def test_the_current_file_is_a_link_to_the_newest_of_two(
    store: CertificateStore, authority: CertificateAuthority, tmp_path: Path
) -> None:
    now = Clock().now()
    for number in range(4):
        pair = authority.issue_client(f"system:node:n{number}")
        store.update(pair.certificate_pem, pair.key_pem, now + number * LATER)
    assert store.current() == pair
    dated = sorted(tmp_path.glob("kubelet-client-2*.pem"))
    assert len(dated) == 2
    assert store.current_path.is_symlink()
    assert Path(os.readlink(store.current_path)) == dated[-1]
    assert dated[-1].stat().st_mode & 0o777 == 0o600


def test_two_pairs_within_a_second_leave_the_last(
    store: CertificateStore, authority: CertificateAuthority
) -> None:
    now = Clock().now()
    for name in ("first", "second"):
        pair = authority.issue_client(name)
        store.update(pair.certificate_pem, pair.key_pem, now)
    assert store.current() == pair


def test_what_a_killed_update_leaves_is_no_hindrance(
    store: CertificateStore, authority: CertificateAuthority, pair: KeyPair, tmp_path: Path
) -> None:
    now = Clock().now()
    # Killed before the link was put in place: nothing, then the old pair, stays current.
    (tmp_path / "kubelet-client-updated.pem").symlink_to(tmp_path / "missing.pem")
    assert store.current() is None
    store.update(pair.certificate_pem, pair.key_pem, now)
    (tmp_path / "kubelet-client-updated.pem").symlink_to(tmp_path / "missing.pem")
    (tmp_path / ".kubelet-client-2030-01-01-00-00-00.pem.1.tmp").write_bytes(b"half")
    assert store.current() == pair
    other = authority.issue_client("system:node:n1")
    store.update(other.certificate_pem, other.key_pem, now + LATER)
    assert store.current() == other


def test_damaged_and_foreign_pairs_are_not_used(
    store: CertificateStore, authority: CertificateAuthority, pair: KeyPair, tmp_path: Path
) -> None:
    foreign = authority.issue_client("system:node:n1")
    with pytest.raises(InvalidPair, match="does not belong"):
        store.update(pair.certificate_pem, foreign.key_pem, Clock().now())
    with pytest.raises(InvalidPair):
        store.update(b"nothing", pair.key_pem, Clock().now())
    assert list(tmp_path.iterdir()) == []
    for damaged in (b"", pair.certificate_pem, pair.key_pem, b"\xff" * 100):
        store.current_path.write_bytes(damaged)
        assert store.current() is None


def test_the_key_of_a_request_is_kept_until_it_is_answered(
    store: CertificateStore, authority: CertificateAuthority, pair: KeyPair, tmp_path: Path
) -> None:
    first = pki.private_pem(store.pending_key())
    again = CertificateStore(tmp_path, "kubelet-client")
    assert pki.private_pem(again.pending_key()) == first
    store.update(pair.certificate_pem, pair.key_pem, Clock().now())
    assert pki.private_pem(store.pending_key()) != first
    (tmp_path / "kubelet-client.key.tmp").write_bytes(b"torn")
    assert pki.private_pem(store.pending_key()) != first


def test_requests_with_another_content_have_another_name() -> None:
    key, other = pki.generate_key(), pki.generate_key()
    names = [
        request_name(CLIENT, Template("n1"), key, False),
        request_name(CLIENT, Template("n1"), key, True),
        request_name(CLIENT, Template("n1"), other, True),
        request_name(CLIENT, Template("n2"), key, True),
        request_name(SERVING, Template("n1"), key, True),
        request_name(SERVING, Template("n1", ("a", "b")), key, True),
        request_name(SERVING, Template("n1", ("ab",)), key, True),
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("node-csr-")
    assert names[1] == request_name(CLIENT, Template("n1"), key, True)


def test_a_template_is_satisfied_by_what_names_at_least_as_much(
    authority: CertificateAuthority,
) -> None:
    pair = authority.issue_server("system:node:n1", ["n1", "fd00::1"], ["system:nodes"])
    hosts = hosts_of(
        [
            {"type": "Hostname", "address": "n1"},
            {"type": "InternalIP", "address": "FD00:0::1"},
            {"type": "ExternalDNS", "address": ""},
        ]
    )
    assert Template("n1", hosts).satisfied_by(pair.certificate)
    assert Template("n1").satisfied_by(pair.certificate)
    assert not Template("n1", (*hosts, "10.0.0.1")).satisfied_by(pair.certificate)
    assert not Template("n2").satisfied_by(pair.certificate)
    stranger = authority.issue_client("system:node:n1")
    assert not Template("n1").satisfied_by(stranger.certificate)


async def test_a_bootstrapped_kubeconfig_is_usable_once_its_certificate_is_there(
    authority: CertificateAuthority, pair: KeyPair, tmp_path: Path
) -> None:
    clock = Clock()
    kubeconfig, bootstrap = tmp_path / "kubeconfig", tmp_path / "bootstrap"
    token = Access(
        "https://127.0.0.1:1", authority.certificate_pem, token="abcdef.0123456789abcdef"
    )
    write_kubeconfig(bootstrap, token)
    config = Config(root_dir=str(tmp_path), bootstrap_kubeconfig=str(bootstrap))
    assert not is_usable(str(kubeconfig), clock)
    await connect(str(kubeconfig), clock, config).close()
    assert "abcdef" not in kubeconfig.read_text()
    assert not is_usable(str(kubeconfig), clock)
    store = CertificateStore(config.certificates, "kubelet-client")
    store.update(pair.certificate_pem, pair.key_pem, clock.now())
    assert is_usable(str(kubeconfig), clock)
    access = load_access(kubeconfig)
    assert (access.server, access.ca) == (token.server, token.ca)
    assert pair.certificate_pem in access.certificate
    store.current_path.resolve().write_bytes(b"")
    assert not is_usable(str(kubeconfig), clock)
    kubeconfig.write_text("torn")
    assert not is_usable(str(kubeconfig), clock)


def test_a_pair_with_a_key_of_another_kind_is_kept_as_it_is(
    authority: CertificateAuthority, store: CertificateStore
) -> None:
    pair = authority.issue_client("system:node:n1")
    openssl = pair.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    store.update(pair.certificate_pem + authority.certificate_pem, openssl, Clock().now())
    held = store.current()
    assert held is not None
    assert held.key_pem == openssl
    assert held.certificate_pem == pair.certificate_pem + authority.certificate_pem
