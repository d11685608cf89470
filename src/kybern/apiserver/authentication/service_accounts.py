"""Service account tokens as credentials.

A token is verified once; its user is then remembered until the token's end, or until one of the
objects that it is bound to (account, pod, secret, node) changes its identity or goes away, which
the caches report. The table is bounded.
"""

import hashlib
from collections.abc import Awaitable, Callable

from kybern.api.errors import Obj
from kybern.api.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from kybern.api.user import UserInfo, authenticated
from kybern.apiserver.authentication.groups import (
    service_account_groups,
    service_account_name,
)
from kybern.apiserver.lookup import Change, Lookup
from kybern.apiserver.tokens import LEEWAY_SECONDS, InvalidToken, TokenVerifier, check_dates
from kybern.component.clock import Clock, parse_rfc3339

_MAX_KNOWN = 8192
_EXTRA = "authentication.kubernetes.io/"
_INVALIDATED = "service account token has been invalidated"

# An object that tokens are bound to: the plural, the namespace and the name.
_Bound = tuple[str, str, str]


class ServiceAccountTokens:
    """Authenticates bound tokens against the objects that exist."""

    def __init__(
        self,
        verifier: TokenVerifier,
        lookup: Lookup,
        clock: Clock,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._verifier = verifier
        self._catch_up = catch_up
        self._lookup = lookup
        self._clock = clock
        self._known: dict[bytes, tuple[UserInfo, float]] = {}
        self._by_object: dict[_Bound, list[bytes]] = {}
        for resource in (SERVICE_ACCOUNTS, PODS, SECRETS, NODES):
            lookup.on_change(resource, self._forgetting(resource.plural))

    async def authenticate(self, token: str) -> UserInfo | None:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None:
            if self._clock.time() < known[1]:
                return known[0]
            del self._known[digest]
        claims = self._verifier.claims(token)
        if claims is None or not self._verifier.accepted_audiences(claims):
            return None
        try:
            user = self.user(claims)
        except InvalidToken:
            # What it is bound to may have been made through another server just now.
            await self._catch_up()
            try:
                user = self.user(claims)
            except InvalidToken:
                return None
        self._remember(digest, user, claims)
        return user

    def user(self, claims: Obj) -> UserInfo:
        """The user of verified claims; raises InvalidToken if they no longer hold."""
        check_dates(claims, self._clock.time())
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise InvalidToken("not a service account token")
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        self._check_account(namespace, account)
        for field, resource in (("secret", SECRETS), ("pod", PODS)):
            if private.get(field):
                self._check_bound(resource, namespace, private[field])
        # The node of a pod's token is information; alone it is what the token is bound to.
        if private.get("node") and not private.get("pod"):
            self._check_bound(NODES, "", private["node"])
        name = account.get("name", "")
        return authenticated(
            UserInfo(
                service_account_name(namespace, name),
                service_account_groups(namespace),
                account.get("uid", ""),
                _extra(claims, private),
            )
        )

    def _check_account(self, namespace: str, reference: Obj) -> None:
        name = reference.get("name", "")
        account = self._lookup.get(SERVICE_ACCOUNTS, name, namespace)
        if account is None:
            raise InvalidToken(f'serviceaccounts "{name}" not found')
        uid = account["metadata"].get("uid")
        if uid != reference.get("uid"):
            raise InvalidToken(
                f"service account UID ({uid}) does not match claim ({reference.get('uid')})"
            )
        if self._deleted(account):
            raise InvalidToken(f"service account {namespace}/{name} has been deleted")

    def _check_bound(self, resource: Resource, namespace: str, reference: Obj) -> None:
        found = self._lookup.get(resource, reference.get("name", ""), namespace)
        if found is None or self._deleted(found):
            raise InvalidToken(_INVALIDATED)
        uid = found["metadata"].get("uid")
        if uid != reference.get("uid"):
            kind = resource.kind
            raise InvalidToken(
                f"{kind} UID ({uid}) does not match service account {kind.lower()} ref claim "
                f"({reference.get('uid')})"
            )

    def _deleted(self, obj: Obj) -> bool:
        deleted = obj["metadata"].get("deletionTimestamp")
        return bool(deleted) and parse_rfc3339(deleted) < self._clock.time() - LEEWAY_SECONDS

    def _remember(self, digest: bytes, user: UserInfo, claims: Obj) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
            self._by_object.clear()
        self._known[digest] = (user, float(claims["exp"]))
        for bound in _bound_objects(claims["kubernetes.io"]):
            self._by_object.setdefault(bound, []).append(digest)

    def _forgetting(self, plural: str) -> Change:
        def changed(old: Obj | None, new: Obj | None) -> None:
            if old is None:
                return
            metadata = old["metadata"]
            bound = (plural, metadata.get("namespace", ""), metadata["name"])
            if bound not in self._by_object:
                return
            # An object on its way out keeps its tokens valid for the leeway only, so they are
            # judged anew at each use from now on.
            if new is None or new["metadata"].get("deletionTimestamp"):
                for digest in self._by_object.pop(bound):
                    self._known.pop(digest, None)

        return changed


def _bound_objects(private: Obj) -> list[_Bound]:
    namespace = private.get("namespace", "")
    bound = [("serviceaccounts", namespace, private["serviceaccount"]["name"])]
    for field, plural in (("secret", "secrets"), ("pod", "pods")):
        if private.get(field):
            bound.append((plural, namespace, private[field]["name"]))
    if private.get("node") and not private.get("pod"):
        bound.append(("nodes", "", private["node"]["name"]))
    return bound


def _extra(claims: Obj, private: Obj) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[_EXTRA + "credential-id"] = (f"JTI={claims['jti']}",)
    for field in ("pod", "node"):
        reference = private.get(field)
        if reference and reference.get("name"):
            extra[f"{_EXTRA}{field}-name"] = (reference["name"],)
            if reference.get("uid"):
                extra[f"{_EXTRA}{field}-uid"] = (reference["uid"],)
    return extra
