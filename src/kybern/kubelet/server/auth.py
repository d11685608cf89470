"""Who may call the node API: each path stands for a subresource of the Node object."""

from pathlib import Path

from kybern.api.errors import StatusError
from kybern.api.user import UserInfo
from kybern.client.client import Client
from kybern.client.delegation import DelegatedAccess
from kybern.component.clock import Clock
from kybern.component.http.messages import Request

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
_SUBRESOURCES = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}


class NodeAuth:
    """Authenticates and authorizes requests to one node's API."""

    def __init__(
        self, client: Client, clock: Clock, node: str, client_ca_file: str, anonymous: bool
    ) -> None:
        self._node = node
        authorities = Path(client_ca_file).read_bytes() if client_ca_file else b""
        self._access = DelegatedAccess(client, clock, authorities, anonymous)

    async def check(self, request: Request) -> UserInfo:
        """The caller, if they may do this; raises StatusError 401 or 403."""
        user = await self._access.authenticate(request)
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

    async def _allowed(self, user: UserInfo, verb: str, subresource: str) -> bool:
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        return await self._access.allows(user, {"resourceAttributes": attributes})


def subresources(path: str) -> tuple[str, ...]:
    """The subresources of ``nodes`` any of which opens a path, the finest first."""
    first = path.strip("/").partition("/")[0]
    if found := _SUBRESOURCES.get(first):
        return (found,)
    if first in ("healthz", "pods", "configz"):
        return (first, "proxy")
    return ("proxy",)
