"""Certificates: an ECDSA authority, the certificates it issues, and their files.

`kybern run apiserver` makes its authorities here, `cluster` issues what nodes and components need,
the kubelet its serving certificate. Files follow kubeadm's names (``ca.crt``, ``apiserver.key``).
Every file is written whole or not at all; a key is written before its certificate, so a process
killed between the two leaves a pair that :func:`load_pair` refuses and the caller issues again.
"""

import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kybern.component.clock import Clock

AUTHORITY_YEARS = 10
CERTIFICATE_YEARS = 1
# A clock that is a little behind must not see a certificate as not yet valid.
_BACKDATE = timedelta(minutes=5)
# A certificate this close to its end is issued again at the next start.
RENEW_BEFORE = timedelta(days=30)


class InvalidPair(Exception):
    """The files of a pair are missing, damaged, or do not belong together."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes

    @cached_property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate_pem)

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        return load_private_key(self.key_pem)

    def save(self, directory: Path, name: str) -> None:
        """Write ``name.key`` (mode 0600) and ``name.crt``."""
        write_atomically(directory / f"{name}.key", self.key_pem, mode=0o600)
        write_atomically(directory / f"{name}.crt", self.certificate_pem, mode=0o644)


class CertificateAuthority:
    """A self-signed authority that issues client and server certificates."""

    def __init__(self, pair: KeyPair, clock: Clock) -> None:
        self.pair = pair
        self._clock = clock

    @classmethod
    def create(cls, common_name: str, clock: Clock) -> "CertificateAuthority":
        key = generate_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(name, name, key.public_key(), clock, AUTHORITY_YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, False)
        names = x509.SubjectAlternativeName([x509.DNSName(common_name)])
        builder = builder.add_extension(names, False)
        return cls(_pair(builder.sign(key, hashes.SHA256()), key), clock)

    @property
    def certificate_pem(self) -> bytes:
        return self.pair.certificate_pem

    def issue_client(self, common_name: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: the user's name in CN, the groups in O."""
        return self._issue(common_name, groups, (), (ExtendedKeyUsageOID.CLIENT_AUTH,))

    def issue_server(
        self, common_name: str, hosts: Sequence[str], groups: Sequence[str] = ()
    ) -> KeyPair:
        """A serving certificate for host names and IP addresses."""
        return self._issue(common_name, groups, hosts, (ExtendedKeyUsageOID.SERVER_AUTH,))

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate carries this authority's signature."""
        try:
            certificate.verify_directly_issued_by(self.pair.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _issue(
        self,
        common_name: str,
        groups: Sequence[str],
        hosts: Sequence[str],
        usages: Sequence[x509.ObjectIdentifier],
    ) -> KeyPair:
        key = generate_key()
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        issuer = self.pair.certificate
        builder = _builder(
            x509.Name(attributes), issuer.subject, key.public_key(), self._clock, CERTIFICATE_YEARS
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(authority, False)
        if hosts:
            names = x509.SubjectAlternativeName([_host_name(host) for host in hosts])
            builder = builder.add_extension(names, False)
        return _pair(builder.sign(self.pair.key, hashes.SHA256()), key)


def generate_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def load_private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """An unencrypted ECDSA key; raises ValueError for anything else."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the private key is not an elliptic curve key")
    return key


def private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_pair(directory: Path, name: str) -> KeyPair:
    """Read ``name.crt`` and ``name.key``; raises InvalidPair unless they belong together."""
    try:
        pair = KeyPair(
            (directory / f"{name}.crt").read_bytes(), (directory / f"{name}.key").read_bytes()
        )
        matching = pair.certificate.public_key() == pair.key.public_key()
    except (OSError, ValueError) as failure:
        raise InvalidPair(f"{directory / name}: {failure}") from failure
    if not matching:
        raise InvalidPair(f"{directory / name}: the key does not belong to the certificate")
    return pair


def load_or_create_authority(
    directory: Path, name: str, common_name: str, clock: Clock
) -> CertificateAuthority:
    """The authority in ``directory``, made once.

    A certificate whose key is gone or foreign is refused rather than replaced: everything that the
    old authority has signed would stop being trusted.
    """
    if (directory / f"{name}.crt").exists():
        return CertificateAuthority(load_pair(directory, name), clock)
    authority = CertificateAuthority.create(common_name, clock)
    authority.pair.save(directory, name)
    return authority


def load_or_issue(
    directory: Path,
    name: str,
    authority: CertificateAuthority,
    issue: Callable[[], KeyPair],
    clock: Clock,
    hosts: Sequence[str] = (),
) -> KeyPair:
    """The pair in ``directory``, issued anew when it is missing, foreign, or about to expire.

    With ``hosts``, also when the certificate does not name all of them.
    """
    try:
        pair = load_pair(directory, name)
    except InvalidPair:
        pair = None
    if pair is not None and authority.has_issued(pair.certificate):
        fresh = pair.certificate.not_valid_after_utc - clock.now() > RENEW_BEFORE
        if fresh and set(hosts) <= set(certificate_hosts(pair.certificate)):
            return pair
    pair = issue()
    pair.save(directory, name)
    return pair


def load_or_create_key(directory: Path, name: str) -> ec.EllipticCurvePrivateKey:
    """A bare key pair as ``name.key`` and ``name.pub``, such as the service account key."""
    path = directory / f"{name}.key"
    if path.exists():
        key = load_private_key(path.read_bytes())
    else:
        key = generate_key()
        write_atomically(path, private_pem(key), mode=0o600)
    public = directory / f"{name}.pub"
    if not public.exists():
        write_atomically(public, public_pem(key.public_key()), mode=0o644)
    return key


def certificate_hosts(certificate: x509.Certificate) -> list[str]:
    """The host names and IP addresses that a serving certificate stands for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [*names, *(str(address) for address in addresses)]


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def local_host_name() -> str:
    """This machine's name, in lower case as certificates and nodes carry it."""
    return socket.gethostname().lower()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    clock: Clock,
    years: int,
) -> x509.CertificateBuilder:
    now = clock.now().replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + timedelta(days=365 * years))
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), private_pem(key))
