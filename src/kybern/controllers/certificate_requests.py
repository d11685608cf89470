"""What a CertificateSigningRequest asks for, whether its signer may grant it, and the signature.

Pure, apart from the signature's randomness. The built-in signers and their rules are the API's:
kubelets' client and serving certificates carry the node's name, other clients' only the usages of
a client.
"""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kybern.api.errors import Obj

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
BACKDATE = timedelta(minutes=5)
# A shorter life than this is counted from the backdated start.
SHORT = timedelta(hours=8)

_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_PLAIN = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
}
_ENCIPHER_ONLY = {"encipher only": "encipher_only", "decipher only": "decipher_only"}


def read(request: Obj) -> x509.CertificateSigningRequest:
    """The PKCS#10 request inside; raises ValueError."""
    return x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))


def has(request: Obj, type_: str) -> bool:
    """Whether the request has the condition; all but a written False count."""
    conditions = (request.get("status") or {}).get("conditions") or ()
    return any(one["type"] == type_ and one.get("status") != "False" for one in conditions)


def common_name(pkcs10: x509.CertificateSigningRequest) -> str:
    names = pkcs10.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def problem(signer: str, pkcs10: x509.CertificateSigningRequest, usages: Sequence[str]) -> str:
    """Why the signer refuses; empty if it does not."""
    if signer == CLIENT:
        return _client_problem(usages)
    if signer == KUBELET_CLIENT:
        return _kubelet_problem(pkcs10, usages, "client auth")
    if signer == KUBELET_SERVING:
        return _kubelet_problem(pkcs10, usages, "server auth")
    return ""


def _client_problem(usages: Sequence[str]) -> str:
    for usage in usages:
        if usage not in ("digital signature", "key encipherment", "client auth"):
            return f"invalid usage for client certificate: {usage}"
    if "client auth" not in usages:
        return "missing required usage for client certificate: client auth"
    return ""


def _kubelet_problem(
    pkcs10: x509.CertificateSigningRequest, usages: Sequence[str], purpose: str
) -> str:
    groups = pkcs10.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if [group.value for group in groups] != [NODES_GROUP]:
        return "subject organization is not system:nodes"
    names = _alternative_names(pkcs10)
    kinds = {type(name) for name in names}
    serving = purpose == "server auth"
    if serving and not kinds & {x509.DNSName, x509.IPAddress}:
        return "DNS or IP subjectAltName is required"
    for kind, text in (
        (x509.DNSName, "DNS"),
        (x509.RFC822Name, "Email"),
        (x509.IPAddress, "IP"),
        (x509.UniformResourceIdentifier, "URI"),
    ):
        if kind in kinds and not (serving and text in ("DNS", "IP")):
            return f"{text} subjectAltNames are not allowed"
    if not common_name(pkcs10).startswith(NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    required = {purpose, "digital signature"}
    if set(usages) not in (required, required | {"key encipherment"}):
        wanted = " ".join(sorted({*required, "key encipherment"}))
        return f"usages did not match [{wanted}]"
    return ""


def _alternative_names(pkcs10: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        found = pkcs10.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(found.value)


class Authority:
    """The cluster's CA, which signs what was approved."""

    def __init__(self, certificate_pem: bytes, key_pem: bytes) -> None:
        self.certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("the CA's key is neither an elliptic curve nor an RSA key")
        self._key = key

    def sign(
        self,
        pkcs10: x509.CertificateSigningRequest,
        usages: Sequence[str],
        life: timedelta,
        now: datetime,
    ) -> bytes:
        """The certificate in PEM: subject, names and key of the request, the approved usages."""
        start = now.replace(microsecond=0) - BACKDATE
        end = (start if life < SHORT else start + BACKDATE) + life
        builder = (
            x509.CertificateBuilder()
            .subject_name(pkcs10.subject)
            .issuer_name(self.certificate.subject)
            .public_key(pkcs10.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(min(end, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(usages), True)
        )
        extended = [_EXTENDED[usage] for usage in usages if usage in _EXTENDED]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), False)
        names = _alternative_names(pkcs10)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(self._identifier(), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        """The CA's own key identifier, or one made from its key where it names none."""
        try:
            held = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(held.value)


def _key_usage(usages: Sequence[str]) -> x509.KeyUsage:
    flags = dict.fromkeys([*_PLAIN.values(), *_ENCIPHER_ONLY.values()], False)
    flags.update({_PLAIN[usage]: True for usage in usages if usage in _PLAIN})
    if flags["key_agreement"]:
        flags.update({_ENCIPHER_ONLY[one]: True for one in usages if one in _ENCIPHER_ONLY})
    return x509.KeyUsage(**flags)
