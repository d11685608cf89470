"""One request's way through the API server, in the order in which it happens.

The HTTP edge and in-process clients call :meth:`Pipeline.handle`. Whatever goes wrong leaves as a
Status; what nobody expected is logged here and leaves as an Internal error without its traceback.
"""

import logging
from collections.abc import Awaitable, Callable

from kybern.api.errors import StatusError, internal_error
from kybern.api.user import UserInfo
from kybern.apiserver.authorization.authorizer import forbidden_request
from kybern.apiserver.cache import storage_error
from kybern.apiserver.call import Call, Services
from kybern.apiserver.limiter import Limiter, TurnedAway
from kybern.apiserver.metrics import Metrics
from kybern.apiserver.negotiation import negotiate, negotiate_status
from kybern.apiserver.request_info import Attributes, RequestInfo, request_info
from kybern.apiserver.responses import failure, page_not_found, too_many_requests
from kybern.apiserver.routing import find_verb, fitting_kind, unserved_group
from kybern.apiserver.warning_header import warning_header
from kybern.component.http.messages import Request, Response
from kybern.store.interface import StoreError

log = logging.getLogger(__name__)

Authenticate = Callable[[Request, RequestInfo], Awaitable[UserInfo]]
Endpoint = Callable[[Request, RequestInfo, UserInfo], Awaitable[Response]]


class Pipeline:
    """The handler of one API server.

    ``endpoints`` answer paths outside the resources: exact paths, or whole trees for keys that end
    in a slash.
    """

    def __init__(
        self,
        services: Services,
        authenticate: Authenticate,
        endpoints: dict[str, Endpoint],
        metrics: Metrics,
        limiter: Limiter,
    ) -> None:
        self._services = services
        self._authenticate = authenticate
        self._endpoints = endpoints
        self._metrics = metrics
        self._limiter = limiter

    async def handle(self, request: Request) -> Response:
        """The answer to any request; raises nothing."""
        metrics = self._metrics
        clock = self._services.clock
        info = request_info(request)
        start = clock.monotonic()
        metrics.entered(info)
        try:
            response = await self._answer(request, info)
        except StatusError as error:
            response = _failure(request, info, error)
        except StoreError as error:
            log.error("%s %s: %s", request.method, request.path, error)
            response = _failure(request, info, storage_error(error))
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            response = _failure(request, info, internal_error(type(error).__name__))
        finally:
            metrics.left(info)
        served = self._services.registry.lookup(info.group, info.version, info.resource)
        seconds = clock.monotonic() - start
        metrics.observe(info, served is not None, response, seconds)
        response.headers.setdefault("Cache-Control", "no-cache, private")
        return response

    async def _answer(self, request: Request, info: RequestInfo) -> Response:
        user = await self._known(request, info)
        try:
            place = self._limiter.enter(user, info)
            if place is None:
                return await self._authorized(request, info, user)
            if not place.executing:
                await place.turn()
        except TurnedAway as refused:
            return too_many_requests(refused.headers)
        try:
            response = await self._authorized(request, info, user)
        except StatusError as error:
            response = _failure(request, info, error)
        finally:
            place.leave()
        response.headers.update(place.headers)
        return response

    async def _known(self, request: Request, info: RequestInfo) -> UserInfo:
        try:
            user = await self._authenticate(request, info)
        except StatusError:
            self._metrics.authenticated(None)
            raise
        self._metrics.authenticated(user)
        return user

    async def _authorized(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        await self._authorize(user, info)
        if not info.is_resource_request:
            return await self._plain(request, info, user)
        return await self._resource(request, info, user)

    async def _authorize(self, user: UserInfo, info: RequestInfo) -> None:
        attributes = Attributes.of(user, info)
        decision = await self._services.authorizers.authorize(attributes)
        self._metrics.authorized(decision.allowed)
        if not decision.allowed:
            raise forbidden_request(attributes, decision.reason)

    async def _plain(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """A path outside the resources: discovery, health, OpenAPI and the like."""
        path = info.path.rstrip("/") or "/"
        endpoint = self._endpoints.get(path)
        while endpoint is None and "/" in path[1:]:
            path = path.rpartition("/")[0]
            endpoint = self._endpoints.get(path + "/")
        return await endpoint(request, info, user) if endpoint else page_not_found()

    async def _resource(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        registry = self._services.registry
        served = registry.lookup(info.group, info.version, info.resource)
        if served is None and info.group and unserved_group(registry, info):
            return page_not_found()
        served = fitting_kind(served, info)
        verb = find_verb(served, info, request.method)
        output = negotiate(
            *_wishes(request, info),
            tables="get" in served.kind.verbs,
            protobuf=self._services.has_protobuf(served),
            streams=info.verb in ("list", "watch"),
        )
        call = Call(self._services, request, info, user, served, output)
        if served.kind.stored:
            cache = call.cache
            if not cache.loaded:
                await cache.start()
        if _must_be_current(info):
            await self._services.caches.catch_up()
        if served.deprecation:
            call.warn(served.deprecation)
        try:
            response = await verb(call)
        except StatusError as error:
            response = _failure(request, info, error)
        if call.warnings:
            response.headers["Warning"] = warning_header(call.warnings)
        return response


def _must_be_current(info: RequestInfo) -> bool:
    """Whether to look at what other servers have done first; lists and watches see to it."""
    if info.verb in ("list", "watch"):
        return False
    return info.verb != "get" or not info.params or info.param("resourceVersion") != "0"


def _failure(request: Request, info: RequestInfo, error: StatusError) -> Response:
    """An error in a form that the client takes."""
    return failure(error, negotiate_status(*_wishes(request, info)))


def _wishes(request: Request, info: RequestInfo) -> tuple[str, str, str]:
    """What negotiation goes by: accepted types, who asks, and the ``pretty`` parameter."""
    headers = request.headers
    pretty = info.param("pretty") if info.params else ""
    return headers.get("accept", ""), headers.get("user-agent", ""), pretty
