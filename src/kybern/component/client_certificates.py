"""Client certificates: the user is the subject's common name, the groups its organizations.

The API server and the node API authenticate by it. The edge hands over the certificate unchecked,
because upstream answers a bad one with 401 and not with a broken handshake; so the chain, the
purpose and the dates are verified here, once per certificate, and remembered in a bounded table.
"""

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kybern.api.user import UserInfo, authenticated
from kybern.component.clock import Clock

_MAX_KNOWN = 4096
_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class ClientCertificates:
    """Verifies certificates against the client authorities."""

    def __init__(self, authorities_pem: bytes, clock: Clock) -> None:
        self._clock = clock
        self._authorities: Sequence[x509.Certificate] = ()
        # DER to the user and the time until which the answer holds.
        self._known: dict[bytes, tuple[UserInfo, float]] = {}
        self.replace_authorities(authorities_pem)

    def replace_authorities(self, pem: bytes) -> None:
        """Trust these authorities from now on."""
        self._authorities = x509.load_pem_x509_certificates(pem)
        self._known.clear()

    def user(self, der: bytes) -> UserInfo | None:
        """The certificate's user; None if it is not one of ours, or its time is not now."""
        known = self._known.get(der)
        if known is not None:
            if self._clock.time() < known[1]:
                return known[0]
            del self._known[der]
        try:
            certificate = x509.load_der_x509_certificate(der)
            if not self._valid(certificate):
                return None
            user = _user_of(certificate, der)
        except ValueError:
            return None
        if user is None:
            return None
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[der] = (user, certificate.not_valid_after_utc.timestamp())
        return user

    def _valid(self, certificate: x509.Certificate) -> bool:
        now = self._clock.now()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return False
        return _for_clients(certificate) and any(
            _issued_by(certificate, authority) and now <= authority.not_valid_after_utc
            for authority in self._authorities
        )


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _for_clients(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    wanted = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(usage in wanted for usage in usages)


def _user_of(certificate: x509.Certificate, der: bytes) -> UserInfo | None:
    subject = certificate.subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names or not names[-1].value:
        return None
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    digest = hashlib.sha256(der).hexdigest()
    return authenticated(
        UserInfo(
            str(names[-1].value),
            tuple(str(group.value) for group in groups),
            extra={_CREDENTIAL_ID: (f"X509SHA256={digest}",)},
        )
    )
