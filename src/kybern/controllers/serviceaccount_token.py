"""Fills Secrets of type ``kubernetes.io/service-account-token`` with a token and the CA.

These are the long-lived tokens that people ask for by hand; pods get short-lived bound tokens
from the API server. A Secret whose service account is gone, or was replaced by another of the same
name, is deleted.
"""

import base64
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kybern.api.errors import Obj
from kybern.api.resources import SECRETS, SERVICE_ACCOUNTS
from kybern.controllers.controller import Context, Controller

SECRET_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
ISSUER = "kubernetes/serviceaccount"


class ServiceAccountTokenController(Controller):
    """Keyed by Secret."""

    name = "serviceaccount-token-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.watch(SECRETS, _token_secret)
        self.secrets.add_index("account", _account_keys)
        self.accounts = self.watch(SERVICE_ACCOUNTS, self._secrets_of_account)
        config = context.config
        self.ca = Path(config.root_ca_file).read_bytes() if config.root_ca_file else b""
        key_file = config.service_account_private_key_file
        self.key = load_pem_private_key(Path(key_file).read_bytes(), None) if key_file else None

    def _secrets_of_account(self, account: Obj) -> list[str]:
        meta = account["metadata"]
        found = self.secrets.by_index("account", f"{meta['namespace']}/{meta['name']}")
        return [
            f"{secret['metadata']['namespace']}/{secret['metadata']['name']}" for secret in found
        ]

    async def reconcile(self, key: str) -> None:
        secret = self.secrets.get(key)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            return
        meta = secret["metadata"]
        annotations = meta.get("annotations") or {}
        account = self.accounts.get(f"{meta['namespace']}/{annotations.get(ACCOUNT_NAME, '')}")
        uid = annotations.get(ACCOUNT_UID)
        if account is None or (uid and uid != account["metadata"]["uid"]):
            await self.client.delete(SECRETS, meta["name"], meta["namespace"], uid=meta["uid"])
            return
        await self._fill(secret, account)

    async def _fill(self, secret: Obj, account: Obj) -> None:
        data = dict(secret.get("data") or {})
        missing = {} if not self.ca else {"ca.crt": self.ca}
        missing["namespace"] = secret["metadata"]["namespace"].encode()
        if self.key is not None and not data.get("token"):
            missing["token"] = self._token(secret, account).encode()
        filled = {**data, **{name: base64.b64encode(v).decode() for name, v in missing.items()}}
        annotations = secret["metadata"].get("annotations") or {}
        annotated = {**annotations, ACCOUNT_UID: account["metadata"]["uid"]}
        if filled == data and annotated == annotations:
            return
        meta = {**secret["metadata"], "annotations": annotated}
        await self.client.update(SECRETS, {**secret, "metadata": meta, "data": filled})

    def _token(self, secret: Obj, account: Obj) -> str:
        namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret["metadata"]["name"],
            "kubernetes.io/serviceaccount/service-account.name": name,
            "kubernetes.io/serviceaccount/service-account.uid": account["metadata"]["uid"],
        }
        algorithm = "ES256" if isinstance(self.key, EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(claims, self.key, algorithm)  # type: ignore[arg-type]


def _token_secret(obj: Obj) -> tuple[str, ...]:
    meta = obj["metadata"]
    return (f"{meta['namespace']}/{meta['name']}",) if obj.get("type") == SECRET_TYPE else ()


def _account_keys(secret: Obj) -> tuple[str, ...]:
    meta = secret["metadata"]
    account = (meta.get("annotations") or {}).get(ACCOUNT_NAME)
    return (f"{meta['namespace']}/{account}",) if account else ()
