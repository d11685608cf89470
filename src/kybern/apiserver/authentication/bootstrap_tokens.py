"""``--enable-bootstrap-token-auth``: the token of a Secret lets a machine ask for its identity."""

import hmac

from kybern.api import bootstrap_tokens as tokens
from kybern.api.resources import SECRETS
from kybern.api.user import UserInfo, authenticated
from kybern.apiserver.lookup import Lookup
from kybern.component.clock import Clock, parse_rfc3339


class BootstrapTokens:
    """Authenticates ``ID.SECRET`` as ``system:bootstrap:ID``."""

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self._lookup = lookup
        self._clock = clock

    async def authenticate(self, token: str) -> UserInfo | None:
        parts = tokens.parse_token(token)
        if parts is None:
            return None
        public, private = parts
        secret = self._lookup.get(SECRETS, tokens.SECRET_PREFIX + public, tokens.NAMESPACE)
        if secret is None or secret.get("type") != tokens.SECRET_TYPE:
            return None
        held = tokens.value(secret, tokens.TOKEN_SECRET)
        groups = tokens.groups(secret)
        valid = (
            hmac.compare_digest(held.encode(), private.encode())
            and tokens.value(secret, tokens.TOKEN_ID) == public
            and tokens.value(secret, tokens.USED_FOR_AUTHENTICATION) == "true"
            and not secret["metadata"].get("deletionTimestamp")
            and not self._expired(tokens.value(secret, tokens.EXPIRATION))
        )
        if not valid or groups is None:
            return None
        return authenticated(UserInfo(tokens.USER_PREFIX + public, groups))

    def _expired(self, expiration: str) -> bool:
        if not expiration:
            return False
        try:
            return parse_rfc3339(expiration) <= self._clock.time()
        except ValueError:
            return True
