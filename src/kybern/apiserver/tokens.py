"""Service account tokens: signed claims, their keys, and what OIDC discovery tells about them.

:class:`TokenSigner` writes tokens (the ``token`` subresource asks for them), :class:`TokenVerifier`
reads them (authentication and TokenReview ask). Both know keys by the id that upstream gives them,
so tokens survive a change of the signing key as long as the old public key stays configured.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kybern.api.errors import Obj

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
# Clocks of different machines may differ by this much.
LEEWAY_SECONDS = 60
_CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_MAX_TOKEN_LENGTH = 16384


class InvalidToken(Exception):
    """The token is no valid service account token; the text says why."""


class TokenSigner:
    """Signs claims with one private key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, issuer: str) -> None:
        self._key = key
        self._headers = {"kid": key_id(key.public_key())}
        self._algorithm = algorithm(key.public_key())
        self.issuer = issuer

    def sign(self, claims: Obj) -> str:
        return jwt.encode(
            {"iss": self.issuer, **claims}, self._key, self._algorithm, headers=self._headers
        )


class TokenVerifier:
    """Checks signature, issuer and audience; dates and bound objects are the caller's."""

    def __init__(
        self, keys: Sequence[PublicKey], issuers: Sequence[str], audiences: Sequence[str]
    ) -> None:
        self._keys = {key_id(key): key for key in keys}
        self._issuers = frozenset(issuers)
        self.audiences = tuple(audiences)

    def claims(self, token: str) -> Obj | None:
        """The claims of a token that one of the keys signed; None for any other token."""
        if len(token) > _MAX_TOKEN_LENGTH or token.count(".") != 2:
            return None
        try:
            named = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        # A token that names no key may be signed by any of them.
        keys = [self._keys.get(named)] if named else list(self._keys.values())
        claims = next((c for key in keys if (c := _signed(token, key)) is not None), None)
        if not isinstance(claims, dict) or claims.get("iss") not in self._issuers:
            return None
        return claims

    def accepted_audiences(self, claims: Obj, wanted: Sequence[str] = ()) -> list[str]:
        """Those of the wanted audiences (the server's own by default) that the token is for."""
        given = claims.get("aud") or []
        offered = [given] if isinstance(given, str) else given
        return [audience for audience in wanted or self.audiences if audience in offered]


def _signed(token: str, key: PublicKey | None) -> Any:
    """What the token says, if the key signed it."""
    if key is None:
        return None
    try:
        return jwt.decode(token, key, [algorithm(key)], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def check_dates(claims: Obj, now: float) -> None:
    """Raise InvalidToken unless the token is valid at ``now``."""
    if now > _number(claims, "exp") + LEEWAY_SECONDS:
        raise InvalidToken("service account token has expired")
    if now < _number(claims, "nbf") - LEEWAY_SECONDS:
        raise InvalidToken("service account token is not valid yet")
    if now < _number(claims, "iat") - LEEWAY_SECONDS:
        raise InvalidToken("service account token is issued in the future")


def _number(claims: Obj, name: str) -> float:
    value = claims.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def key_id(key: PublicKey) -> str:
    """The key's id: a hash of its DER form."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _base64url(hashlib.sha256(der).digest())


def algorithm(key: PublicKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPublicKey) else _CURVE_ALGORITHMS[key.curve.name]


def load_public_keys(pem: bytes) -> list[PublicKey]:
    """The keys of a PEM file with one or more public keys, or a private one."""
    begin = b"-----BEGIN "
    blocks = [begin + block for block in pem.split(begin)[1:]]
    keys: list[PublicKey] = []
    for block in blocks:
        if b"PRIVATE KEY" in block:
            private = serialization.load_pem_private_key(block, password=None)
            key: Any = private.public_key()
        else:
            key = serialization.load_pem_public_key(block)
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise ValueError("service account keys are RSA or elliptic curve keys")
        keys.append(key)
    return keys


def discovery_document(issuer: str, jwks_uri: str, keys: Sequence[PublicKey]) -> Obj:
    """``/.well-known/openid-configuration``."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({algorithm(key) for key in keys}),
    }


def key_set(keys: Sequence[PublicKey]) -> Obj:
    """``/openid/v1/jwks``."""
    return {"keys": [_json_web_key(key) for key in keys]}


def _json_web_key(key: PublicKey) -> Obj:
    common = {"use": "sig", "kid": key_id(key), "alg": algorithm(key)}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {**common, "kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
    point = key.public_numbers()
    size = (key.key_size + 7) // 8
    return {
        **common,
        "kty": "EC",
        "crv": _CURVE_NAMES[key.curve.name],
        "x": _integer(point.x, size),
        "y": _integer(point.y, size),
    }


def _integer(value: int, size: int = 0) -> str:
    return _base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
