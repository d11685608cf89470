"""The paths beside the API's resources that this server answers about itself.

Health, version, metrics and OIDC discovery; ``server.py`` joins them with discovery and OpenAPI.
"""

from collections.abc import Awaitable, Callable, Mapping

import orjson

from kybern.api.errors import Obj, StatusError, method_not_allowed
from kybern.api.kinds import Registry
from kybern.api.user import UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.health import Check, HealthEndpoint
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.tokens import PublicKey, discovery_document, key_set
from kybern.component.clock import Clock
from kybern.component.http.accept import parse_accept
from kybern.component.http.messages import Request, Response
from kybern.component.status_pages import FlagsPage, StatusPage
from kybern.component.version import version_info

Endpoint = Callable[[Request, RequestInfo, UserInfo], Awaitable[Response]]
_HOUR = "public, max-age=3600"
_UNLISTED = "/debug/"
_LISTED = ("/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version")


def own_endpoints(
    config: Config,
    clock: Clock,
    keys: list[PublicKey],
    live: Mapping[str, Check],
    ready: Mapping[str, Check],
) -> dict[str, Endpoint]:
    """Endpoints by path; those that end in a slash answer for everything below."""
    readyz = HealthEndpoint("readyz", ready)
    livez = HealthEndpoint("livez", live)
    healthz = HealthEndpoint("healthz", live)
    discovery = discovery_document(
        config.service_account_issuer[0],
        config.service_account_jwks_uri or _jwks_uri(config),
        keys,
    )
    return {
        "/healthz": healthz,
        "/healthz/": healthz,
        "/livez": livez,
        "/livez/": livez,
        "/readyz": readyz,
        "/readyz/": readyz,
        "/version": _version,
        "/statusz": _status_page(StatusPage("apiserver", clock, _LISTED)),
        "/flagz": _status_page(FlagsPage("apiserver", config)),
        "/.well-known/openid-configuration": _document(discovery, "application/json"),
        "/openid/v1/jwks": _document(key_set(keys), "application/jwk-set+json"),
    }


class PathIndex:
    """The endpoint of ``/``: the paths that this server answers."""

    def __init__(self, endpoints: Mapping[str, Endpoint], registry: Registry) -> None:
        self._endpoints = endpoints
        self._registry = registry

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        paths = {path for path in self._endpoints if path[-1] != "/"} | {"/apis/"}
        paths = {path for path in paths if not path.startswith(_UNLISTED)}
        for group in self._registry.groups():
            root = f"/apis/{group.name}" if group.name else "/api"
            paths |= {root, *(f"{root}/{version}" for version in group.versions)}
        for path, endpoint in self._endpoints.items():
            if isinstance(endpoint, HealthEndpoint):
                paths |= {f"{path.rstrip('/')}/{check}" for check in endpoint.checks}
        body = orjson.dumps({"paths": sorted(paths)}, option=orjson.OPT_INDENT_2)
        return Response(200, {"Content-Type": "application/json"}, body)


def _jwks_uri(config: Config) -> str:
    address = config.advertise_address or "127.0.0.1"
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{config.secure_port}/openid/v1/jwks"


async def _version(request: Request, info: RequestInfo, user: UserInfo) -> Response:
    if request.method != "GET":
        raise method_not_allowed()
    body = orjson.dumps(version_info(), option=orjson.OPT_INDENT_2)
    return Response(200, {"Content-Type": "application/json"}, body)


def _status_page(page: StatusPage | FlagsPage) -> Endpoint:
    async def answer(request: Request, info: RequestInfo, user: UserInfo) -> Response:
        return page.answer(request.headers.get("accept", ""))

    return answer


def _document(document: Obj, media_type: str) -> Endpoint:
    """A fixed document, which is served in its one form only."""
    body = orjson.dumps(document)

    async def answer(request: Request, info: RequestInfo, user: UserInfo) -> Response:
        if request.method != "GET":
            raise method_not_allowed()
        accepted = parse_accept(request.headers.get("accept", "") or "*/*")
        if not any(clause.matches(media_type) for clause in accepted):
            text = f"406: Not Acceptable\n\nAvailable representations: {media_type}"
            raise StatusError(406, "NotAcceptable", text, {})
        return Response(200, {"Content-Type": media_type, "Cache-Control": _HOUR}, body)

    return answer
