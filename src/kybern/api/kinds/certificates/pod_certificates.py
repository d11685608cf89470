"""What a PodCertificateRequest proves and what a signer answers: keys, signatures, certificates.

Whoever asks proves to hold the key, by a signature of the pod's UID or by an empty PKCS#10
request. Whoever signs must have issued the certificate to that key, for the times that the status
tells.
"""

import base64
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from kybern.api.errors import FieldError, Obj, invalid_value, required, too_long
from kybern.api.validation.pem import PemBlock, pem_blocks

_PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_MAX_KEY_BYTES = 10 * 1024
_MAX_CHAIN_BYTES = 100 * 1024
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_MODULI = (3072, 4096)
_CHAIN = "status.certificateChain"
_REFRESH_MARGIN = timedelta(minutes=10)
_SHORTEST = timedelta(hours=1)
_TYPES = "unknown public key type; supported types are Ed25519, ECDSA, and RSA"


def check_key_proof(spec: Obj) -> list[FieldError]:
    """Whether the request holds one proof of its key, and that is sound."""
    key, proof = _bytes(spec, "pkixPublicKey"), _bytes(spec, "proofOfPossession")
    stub = _bytes(spec, "stubPKCS10Request")
    if stub and not key and not proof:
        return _check_stub(stub)
    if key and proof and not stub:
        return _check_signature(spec, key, proof)
    text = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set"
    return [omitted_value("spec", text)]


def _check_stub(stub: bytes) -> list[FieldError]:
    path = "spec.stubPKCS10Request"
    if len(stub) > _MAX_KEY_BYTES:
        return [too_long(path, _MAX_KEY_BYTES)]
    try:
        request = x509.load_der_x509_csr(stub)
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not _is_readable(key):
        return [omitted_value(path, "must be a valid PKCS#10 CSR")]
    errors = _check_key(key, path, "P256, P384, or P521")
    if errors:
        return errors
    return [] if request.is_signature_valid else [omitted_value(path, "invalid signature")]


def _check_signature(spec: Obj, encoded: bytes, proof: bytes) -> list[FieldError]:
    path = "spec.pkixPublicKey"
    if len(encoded) > _MAX_KEY_BYTES:
        return [too_long(path, _MAX_KEY_BYTES)]
    if len(proof) > _MAX_KEY_BYTES:
        return [too_long("spec.proofOfPossession", _MAX_KEY_BYTES)]
    try:
        key = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not _is_readable(key):
        text = "must be a valid PKIX-serialized public key"
        return [invalid_value(path, spec["pkixPublicKey"], text)]
    errors = _check_key(key, path, "P256 or P384")
    if errors:
        return errors
    assert isinstance(key, _PublicKey), "other keys were refused"
    if not _verifies(key, proof, spec.get("podUID", "").encode()):
        text = "could not verify proof-of-possession signature"
        return [omitted_value("spec.proofOfPossession", text)]
    return []


def _is_readable(key: object) -> bool:
    """Whether Go's library, whose answers these are, can read such a key at all."""
    curve = key.curve if isinstance(key, ec.EllipticCurvePublicKey) else None
    return key is not None and (curve is None or isinstance(curve, (*_CURVES, ec.SECP224R1)))


def _check_key(key: object, path: str, curves: str) -> list[FieldError]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, _CURVES):
            return []
        text = f"elliptic public keys must use curve {curves}"
        return [invalid_value(path, "curve P-224", text)]
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size in _MODULI:
            return []
        text = "RSA keys must have modulus size 3072 or 4096"
        return [invalid_value(path, f"{key.key_size}-bit modulus", text)]
    return [] if isinstance(key, ed25519.Ed25519PublicKey) else [omitted_value(path, _TYPES)]


def _verifies(key: _PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, text)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
        else:
            salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            key.verify(signature, text, salted, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def check_issued(spec: Obj, status: Obj) -> list[FieldError]:
    """Whether the certificate of an issued request is what was asked for."""
    chain: str = status.get("certificateChain", "")
    if len(chain.encode()) > _MAX_CHAIN_BYTES:
        return [too_long(_CHAIN, _MAX_CHAIN_BYTES)]
    blocks = list(pem_blocks(chain))
    problem = _chain_problem(blocks)
    if problem:
        return [invalid_value(_CHAIN, chain, problem)]
    leaf = x509.load_der_x509_certificate(blocks[0].content)
    if _encoded(leaf.public_key()) != _requested_key(spec):
        text = "leaf certificate was not issued to the requested public key"
        return [invalid_value(_CHAIN, chain, text)]
    return _check_times(leaf, spec, status)


def _chain_problem(blocks: list[PemBlock]) -> str:
    if not blocks:
        return "issued certificate chain must contain at least one certificate"
    for i, block in enumerate(blocks):
        if block.type != "CERTIFICATE":
            word = "CERTFICATE" if i else "CERTIFICATE"
            return f"issued certificate chain must consist entirely of {word} PEM blocks"
        try:
            x509.load_der_x509_certificate(block.content).public_key()
        except (ValueError, UnsupportedAlgorithm):
            what = "intermediate" if i else "leaf"
            return f"{what} certificate does not parse as valid X.509"
    return ""


def _requested_key(spec: Obj) -> bytes:
    stub = _bytes(spec, "stubPKCS10Request")
    if stub:
        return _encoded(x509.load_der_x509_csr(stub).public_key())
    return _encoded(load_der_public_key(_bytes(spec, "pkixPublicKey")))


def _check_times(leaf: x509.Certificate, spec: Obj, status: Obj) -> list[FieldError]:
    consistent = "must be present and consistent with the issued certificate"
    between = "must be present and in the range [notbefore+10min, notafter-10min]"
    needed = {"notBefore": consistent, "notAfter": consistent, "beginRefreshAt": between}
    missing = [name for name in needed if not status.get(name)]
    if missing:
        return [required(f"status.{name}", needed[name]) for name in missing]
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    lifetime, longest = ends - begins, spec.get("maxExpirationSeconds", 0)
    refresh = _time(status, "beginRefreshAt")
    for broken, path, shown, text in (
        (
            _time(status, "notBefore") != begins,
            "status.notBefore",
            status["notBefore"],
            "must be set to the NotBefore time encoded in the leaf certificate",
        ),
        (
            _time(status, "notAfter") != ends,
            "status.notAfter",
            status["notAfter"],
            "must be set to the NotAfter time encoded in the leaf certificate",
        ),
        (
            lifetime < _SHORTEST,
            _CHAIN,
            str(lifetime),
            "leaf certificate lifetime must be >= 1 hour",
        ),
        (
            lifetime.total_seconds() > longest,
            _CHAIN,
            str(lifetime),
            f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest})",
        ),
        (
            refresh < begins + _REFRESH_MARGIN,
            "status.beginRefreshAt",
            status["beginRefreshAt"],
            "must be at least 10 minutes after status.notBefore",
        ),
        (
            refresh > ends - _REFRESH_MARGIN,
            "status.beginRefreshAt",
            status["beginRefreshAt"],
            "must be at least 10 minutes before status.notAfter",
        ),
    ):
        if broken:
            return [invalid_value(path, shown, text)]
    return []


def _time(status: Obj, name: str) -> datetime:
    return datetime.fromisoformat(status[name])


def _bytes(spec: Obj, name: str) -> bytes:
    return base64.b64decode(spec.get(name) or "")


def _encoded(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def omitted_value(path: str, text: str) -> FieldError:
    """An error that keeps the value to itself."""
    return FieldError("FieldValueInvalid", path, f"Invalid value: {text}")
