"""The authority issues what TLS and authentication accept, and its files survive a crash."""

import stat
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kybern.component import pki
from kybern.component.clock import Clock


@pytest.fixture(scope="module")
def authority() -> pki.CertificateAuthority:
    return pki.CertificateAuthority.create("kubernetes", Clock())


def test_a_client_certificate_names_its_user_and_groups(
    authority: pki.CertificateAuthority,
) -> None:
    certificate = authority.issue_client("jane", ["devs", "ops"]).certificate
    subject = certificate.subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["jane"]
    groups = [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == ["devs", "ops"]
    usage = certificate.extensions.get_extension_for_class(pki.x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert authority.has_issued(certificate)


def test_a_foreign_certificate_is_not_ones_own(authority: pki.CertificateAuthority) -> None:
    other = pki.CertificateAuthority.create("kubernetes", Clock())
    assert not authority.has_issued(other.issue_client("jane").certificate)


def test_a_server_certificate_stands_for_names_and_addresses(
    authority: pki.CertificateAuthority,
) -> None:
    hosts = ["localhost", "127.0.0.1", "fd00::1"]
    certificate = authority.issue_server("kube-apiserver", hosts).certificate
    assert pki.certificate_hosts(certificate) == hosts


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    first = pki.load_or_create_authority(tmp_path, "ca", "kubernetes", Clock())
    second = pki.load_or_create_authority(tmp_path, "ca", "kubernetes", Clock())
    assert first.certificate_pem == second.certificate_pem
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_an_authority_without_its_key_is_refused(tmp_path: Path) -> None:
    pki.load_or_create_authority(tmp_path, "ca", "kubernetes", Clock())
    (tmp_path / "ca.key").unlink()
    with pytest.raises(pki.InvalidPair):
        pki.load_or_create_authority(tmp_path, "ca", "kubernetes", Clock())


@pytest.mark.parametrize("damage", ["missing", "torn", "foreign key", "other authority", "host"])
def test_a_damaged_pair_is_issued_again(
    tmp_path: Path, authority: pki.CertificateAuthority, damage: str
) -> None:
    hosts = ["localhost"]

    def load(hosts: list[str]) -> pki.KeyPair:
        return pki.load_or_issue(
            tmp_path,
            "apiserver",
            authority,
            lambda: authority.issue_server("kube-apiserver", hosts),
            Clock(),
            hosts,
        )

    first = load(hosts)
    assert load(hosts).certificate_pem == first.certificate_pem
    if damage == "missing":
        (tmp_path / "apiserver.key").unlink()
    elif damage == "torn":
        (tmp_path / "apiserver.crt").write_bytes(first.certificate_pem[:100])
    elif damage == "foreign key":
        pki.write_atomically(tmp_path / "apiserver.key", pki.private_pem(pki.generate_key()))
    elif damage == "other authority":
        other = pki.CertificateAuthority.create("kubernetes", Clock())
        other.issue_server("kube-apiserver", hosts).save(tmp_path, "apiserver")
    else:
        hosts = ["localhost", "10.96.0.1"]
    second = load(hosts)
    assert second.certificate_pem != first.certificate_pem
    assert authority.has_issued(second.certificate)
    assert pki.load_pair(tmp_path, "apiserver") == second


def test_a_write_leaves_no_other_file_behind(tmp_path: Path) -> None:
    pki.write_atomically(tmp_path / "a" / "b", b"data", mode=0o600)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
