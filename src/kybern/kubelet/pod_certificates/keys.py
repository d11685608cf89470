"""Keys of pods, and the proof that whoever asks for a certificate holds the key."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kybern.component import pki

_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
_EXPONENT = 65537
_Digest = type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512] | None
# How a key is made, and what its signatures digest with; Ed25519 knows that itself.
_TYPES: dict[str, tuple[Callable[[], _PrivateKey], _Digest]] = {
    "RSA3072": (lambda: rsa.generate_private_key(_EXPONENT, 3072), hashes.SHA256),
    "RSA4096": (lambda: rsa.generate_private_key(_EXPONENT, 4096), hashes.SHA256),
    "ECDSAP256": (lambda: ec.generate_private_key(ec.SECP256R1()), hashes.SHA256),
    "ECDSAP384": (lambda: ec.generate_private_key(ec.SECP384R1()), hashes.SHA384),
    "ECDSAP521": (lambda: ec.generate_private_key(ec.SECP521R1()), hashes.SHA512),
    "ED25519": (ed25519.Ed25519PrivateKey.generate, None),
}


@dataclass(frozen=True, slots=True)
class PodKey:
    """A private key (PEM), and a PKCS#10 request (DER) that is empty but for key and signature."""

    pem: bytes
    stub: bytes


def make_key(key_type: str) -> PodKey:
    """A new key; raises ValueError for types that nobody knows."""
    if key_type not in _TYPES:
        raise ValueError(f'unknown key type "{key_type}"')
    generate, digest = _TYPES[key_type]
    key = generate()
    empty = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = empty.sign(key, digest() if digest else None)
    return PodKey(pki.private_pem(key), request.public_bytes(serialization.Encoding.DER))


class Keys:
    """Makes the keys of one node."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Semaphore()

    async def make(self, key_type: str) -> PodKey:
        """A new key; RSA ones take long, so they are made in a thread, one after the other."""
        if not key_type.startswith("RSA"):
            return make_key(key_type)
        async with self._one_at_a_time:
            return await asyncio.to_thread(make_key, key_type)
