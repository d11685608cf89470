"""Who calls a component's own HTTPS port, and whether they may: the API server is asked.

Client certificates are verified here; bearer tokens and permissions go to the API server as
TokenReview and SubjectAccessReview. Its answers are kept for a while, as upstream's components do
by webhook: a bounded number of them, the oldest go first.
"""

from collections import OrderedDict

import orjson

from kybern.api.errors import Obj, service_unavailable, unauthorized
from kybern.api.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Resource
from kybern.api.user import ANONYMOUS, UNAUTHENTICATED_GROUP, UserInfo
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable
from kybern.component.client_certificates import ClientCertificates
from kybern.component.clock import Clock
from kybern.component.http.messages import Request

ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
TOKEN_SECONDS = 120.0
MAX_KEPT = 1024


class DelegatedAccess:
    """Authenticates callers and judges what they may; ``authorities`` are PEM, or empty."""

    def __init__(self, client: Client, clock: Clock, authorities: bytes, anonymous: bool) -> None:
        self._client = client
        self._clock = clock
        self._anonymous = anonymous
        self._certificates = ClientCertificates(authorities, clock) if authorities else None
        self._tokens: OrderedDict[str, tuple[float, UserInfo | None]] = OrderedDict()
        self._decisions: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()

    async def authenticate(self, request: Request) -> UserInfo:
        """The caller; raises StatusError 401, or 503 where the API server is away."""
        if request.user is not None:
            return request.user
        certificate = request.peer_certificate
        if certificate is not None and self._certificates is not None:
            user = self._certificates.user(certificate)
            if user is not None:
                return user
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            if user := await self._token_user(token.strip()):
                return user
            raise unauthorized()
        if self._anonymous and request.peer_certificate is None:
            return UserInfo(ANONYMOUS, (UNAUTHENTICATED_GROUP,))
        raise unauthorized()

    async def allows(self, user: UserInfo, attributes: Obj) -> bool:
        """Whether the user may; ``attributes`` are the parts of a SubjectAccessReview's spec that
        say what: ``resourceAttributes`` or ``nonResourceAttributes``."""
        asked = {"user": user.name, "groups": list(user.groups), **attributes}
        key = orjson.dumps(asked)
        now = self._clock.monotonic()
        kept = self._decisions.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        review = await self._ask(SUBJECT_ACCESS_REVIEWS, {"spec": asked})
        allowed = bool((review.get("status") or {}).get("allowed"))
        self._decisions[key] = (now + (ALLOWED_SECONDS if allowed else DENIED_SECONDS), allowed)
        if len(self._decisions) > MAX_KEPT:
            self._decisions.popitem(last=False)
        return allowed

    async def _token_user(self, token: str) -> UserInfo | None:
        now = self._clock.monotonic()
        kept = self._tokens.get(token)
        if kept is not None and now < kept[0]:
            return kept[1]
        review = await self._ask(TOKEN_REVIEWS, {"spec": {"token": token}})
        status = review.get("status") or {}
        user = None
        if status.get("authenticated"):
            found = status.get("user") or {}
            user = UserInfo(found.get("username", ""), tuple(found.get("groups") or ()))
        self._tokens[token] = (now + TOKEN_SECONDS, user)
        if len(self._tokens) > MAX_KEPT:
            self._tokens.popitem(last=False)
        return user

    async def _ask(self, resource: Resource, review: Obj) -> Obj:
        try:
            return await self._client.create(
                resource, {"apiVersion": resource.api_version, "kind": resource.kind, **review}
            )
        except ApiUnreachable as error:
            raise service_unavailable(str(error)) from None
