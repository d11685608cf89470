"""Bootstrap tokens end with their time, and vouch for the public cluster information.

``kube-public/cluster-info`` holds what a joining machine needs to find the cluster; its signatures,
one for each token, let the machine trust it before it trusts the connection.
"""

import base64
import hashlib
import hmac

import orjson

from kybern.api import bootstrap_tokens as tokens
from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS, SECRETS
from kybern.component.clock import parse_rfc3339
from kybern.controllers.controller import Context, Controller

CLUSTER_INFO = ("kube-public", "cluster-info")
_KUBECONFIG = "kubeconfig"
_SIGNATURE = "jws-kubeconfig-"


class TokenCleaner(Controller):
    """Keyed by Secret; deletes tokens whose time is over."""

    name = "token-cleaner-controller"
    account = "token-cleaner"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.watch(SECRETS, _token_key)

    async def reconcile(self, key: str) -> float | None:
        secret = self.secrets.get(key)
        left = None if secret is None else seconds_left(secret, self.clock.time())
        if secret is None or left is None or left > 0:
            return left
        namespace, name = objects.split_key(key)
        try:
            await self.client.delete(SECRETS, name, namespace, uid=objects.uid(secret))
        except StatusError as error:
            if error.code not in (404, 409):
                raise
        return None


class BootstrapSigner(Controller):
    """Keyed by the ConfigMap; any change of a token concerns it."""

    name = "bootstrap-signer-controller"
    account = "bootstrap-signer"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.watch(SECRETS, lambda secret: _cluster_info() if _token(secret) else ())
        self.config_maps = self.watch(CONFIG_MAPS, _own_key)

    async def reconcile(self, key: str) -> float | None:
        found = self.config_maps.get(key)
        data = (found or {}).get("data") or {}
        if found is None or _KUBECONFIG not in data:
            return None
        wanted = {name: text for name, text in data.items() if not name.startswith(_SIGNATURE)}
        for public, private in sorted(self._signing().items()):
            wanted[_SIGNATURE + public] = signature(data[_KUBECONFIG], public, private)
        if wanted != data:
            await self.client.update(CONFIG_MAPS, {**found, "data": wanted})
        return None

    def _signing(self) -> dict[str, str]:
        """The tokens that may sign, by their public part."""
        now = self.clock.time()
        found = {}
        for secret in self.secrets.list():
            public = tokens.value(secret, tokens.TOKEN_ID)
            private = tokens.value(secret, tokens.TOKEN_SECRET)
            left = seconds_left(secret, now)
            if (
                _token(secret)
                and secret["metadata"]["name"] == tokens.SECRET_PREFIX + public
                and private
                and tokens.value(secret, tokens.USED_FOR_SIGNING) == "true"
                and (left is None or left > 0)
            ):
                found[public] = private
        return found


def seconds_left(secret: Obj, now: float) -> float | None:
    """How long a token is still good; 0 if it is not, None if there is no end to it."""
    expiration = tokens.value(secret, tokens.EXPIRATION)
    if not expiration or not _token(secret):
        return None
    try:
        return max(parse_rfc3339(expiration) - now, 0.0)
    except ValueError:
        return 0.0


def signature(content: str, public: str, private: str) -> str:
    """A detached JWS (RFC 7515, appendix F) of the content by HMAC with the token."""
    header = _base64url(orjson.dumps({"alg": "HS256", "kid": public}))
    payload = _base64url(content.encode())
    mac = hmac.new(private.encode(), f"{header}.{payload}".encode(), hashlib.sha256)
    return f"{header}..{_base64url(mac.digest())}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(secret: Obj) -> bool:
    in_place = secret["metadata"].get("namespace") == tokens.NAMESPACE
    return in_place and secret.get("type") == tokens.SECRET_TYPE


def _token_key(secret: Obj) -> tuple[str, ...]:
    return (objects.key(secret),) if _token(secret) else ()


def _cluster_info() -> tuple[str, ...]:
    return ("/".join(CLUSTER_INFO),)


def _own_key(config_map: Obj) -> tuple[str, ...]:
    key = objects.key(config_map)
    return (key,) if key in _cluster_info() else ()
