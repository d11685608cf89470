"""Tokens that lie in Secrets of type ``kubernetes.io/service-account-token``.

They never expire, so each use is checked against the Secret and its account, and the Secret is
labelled with the day of its last use; the cleaner marks tokens invalid that nobody uses, and those
are refused.
"""

import base64
import hmac
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import SECRETS, SERVICE_ACCOUNTS
from kybern.api.user import UserInfo, authenticated
from kybern.apiserver.authentication.groups import (
    service_account_groups,
    service_account_name,
)
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback
from kybern.apiserver.tokens import TokenVerifier
from kybern.component.clock import Clock, rfc3339

log = logging.getLogger(__name__)

ISSUER = "kubernetes/serviceaccount"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_CLAIM = "kubernetes.io/serviceaccount/"
_DAY = 86400.0


class LegacyTokens:
    """Authenticates them; ``verifier`` knows their issuer."""

    def __init__(
        self, verifier: TokenVerifier, lookup: Lookup, clock: Clock, loopback: Loopback
    ) -> None:
        self._verifier = verifier
        self._lookup = lookup
        self._clock = clock
        self._loopback = loopback

    async def authenticate(self, token: str) -> UserInfo | None:
        claims = self._verifier.claims(token)
        if claims is None:
            return None
        namespace = claims.get(f"{_CLAIM}namespace", "")
        name = claims.get(f"{_CLAIM}service-account.name", "")
        uid = claims.get(f"{_CLAIM}service-account.uid", "")
        if claims.get("sub") != service_account_name(namespace, name):
            return None
        secret = self._lookup.get(SECRETS, claims.get(f"{_CLAIM}secret.name", ""), namespace)
        account = self._lookup.get(SERVICE_ACCOUNTS, name, namespace)
        if secret is None or account is None or not _holds(secret, token):
            return None
        if any(obj["metadata"].get("deletionTimestamp") for obj in (secret, account)):
            return None
        if account["metadata"]["uid"] != uid:
            return None
        await self._used(secret)
        if (secret["metadata"].get("labels") or {}).get(INVALID_SINCE):
            return None
        return authenticated(
            UserInfo(service_account_name(namespace, name), service_account_groups(namespace), uid)
        )

    async def _used(self, secret: Obj) -> None:
        """Label the Secret, once a day; the token is as good if that fails."""
        now = self._clock.time()
        # Another server's day may have begun already.
        days = [rfc3339(now)[:10], rfc3339(now + _DAY)[:10]]
        if (secret["metadata"].get("labels") or {}).get(LAST_USED) in days:
            return
        try:
            await self._loopback.patch(SECRETS, secret, {"labels": {LAST_USED: days[0]}})
        except StatusError as error:
            log.warning("A token's last use cannot be noted: %s", error.message)


def _holds(secret: Obj, token: str) -> bool:
    held = base64.b64decode((secret.get("data") or {}).get("token", ""))
    return hmac.compare_digest(held, token.encode())
