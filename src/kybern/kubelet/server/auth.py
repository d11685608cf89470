"""Who calls the node API, and whether they may: client certificates, bearer tokens, access reviews.

The API server is asked (TokenReview, SubjectAccessReview), and its answers are kept for a while, as
upstream's kubelet does by webhook.
"""

from collections import OrderedDict
from pathlib import Path

from kybern.api.errors import Obj, StatusError, service_unavailable, unauthorized
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

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
_SUBRESOURCES = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}


class NodeAuth:
    """Authenticates and authorizes requests to one node's API."""

    def __init__(
        self, client: Client, clock: Clock, node: str, client_ca_file: str, anonymous: bool
    ) -> None:
        self._client = client
        self._clock = clock
        self._node = node
        self._anonymous = anonymous
        authorities = Path(client_ca_file).read_bytes() if client_ca_file else b""
        self._certificates = ClientCertificates(authorities, clock) if authorities else None
        self._tokens: OrderedDict[str, tuple[float, UserInfo | None]] = OrderedDict()
        self._decisions: OrderedDict[tuple[str, ...], tuple[float, bool]] = OrderedDict()

    async def check(self, request: Request) -> UserInfo:
        """The caller, if they may do this; raises StatusError 401 or 403."""
        user = await self._authenticate(request)
        verb = _VERBS.get(request.method, request.method.lower())
        for subresource in subresources(request.path):
            if await self._allowed(user, verb, subresource):
                return user
        what = "nodes", subresources(request.path)[-1]
        raise StatusError(
            403,
            "Forbidden",
            f"Forbidden (user={user.name}, verb={verb}, resource={what[0]}, "
            f"subresource({self._node})={what[1]})",
        )

    async def _authenticate(self, request: Request) -> UserInfo:
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

    async def _allowed(self, user: UserInfo, verb: str, subresource: str) -> bool:
        key = (user.name, *user.groups, verb, subresource)
        now = self._clock.monotonic()
        kept = self._decisions.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        asked = {
            "spec": {
                "user": user.name,
                "groups": list(user.groups),
                "resourceAttributes": attributes,
            }
        }
        review = await self._ask(SUBJECT_ACCESS_REVIEWS, asked)
        allowed = bool((review.get("status") or {}).get("allowed"))
        self._decisions[key] = (now + (ALLOWED_SECONDS if allowed else DENIED_SECONDS), allowed)
        if len(self._decisions) > MAX_KEPT:
            self._decisions.popitem(last=False)
        return allowed

    async def _ask(self, resource: Resource, review: Obj) -> Obj:
        try:
            return await self._client.create(
                resource, {"apiVersion": resource.api_version, "kind": resource.kind, **review}
            )
        except ApiUnreachable as error:
            raise service_unavailable(str(error)) from None


def subresources(path: str) -> tuple[str, ...]:
    """The subresources of ``nodes`` any of which opens a path, the finest first."""
    first = path.strip("/").partition("/")[0]
    if found := _SUBRESOURCES.get(first):
        return (found,)
    if first in ("healthz", "pods", "configz"):
        return (first, "proxy")
    return ("proxy",)
