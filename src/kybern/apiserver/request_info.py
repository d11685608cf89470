"""What a request is about: the verb, the resource and the name, read off its path once.

The pipeline calls :func:`request_info` for every request; authorization, admission, audit and the
verbs read its answer and never parse the path or the query again. The rules are upstream's
``RequestInfoFactory``, oddities included: for ``/api/v1/namespaces/x`` the namespace *and* the name
are ``x``, and a list by ``metadata.name=x`` counts as naming ``x``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kybern.api.user import UserInfo
from kybern.component.http.messages import Request

_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_SPECIAL_VERBS = frozenset({"proxy", "watch"})
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_COLLECTION_VERBS = frozenset({"list", "watch", "deletecollection"})
_NO_PARAMETERS: Mapping[str, list[str]] = {}


@dataclass(slots=True)
class RequestInfo:
    """A classified request. Paths outside ``/api`` and ``/apis`` have only verb, path and params.

    ``parts`` are the path segments from the resource on, so that a proxy finds what follows the
    subresource. ``params`` holds the decoded query; values keep their order.
    """

    is_resource_request: bool
    path: str
    verb: str
    params: Mapping[str, list[str]] = field(default_factory=dict)
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    field_selector: str = ""
    label_selector: str = ""

    def param(self, name: str) -> str:
        """The first value of a query parameter, or an empty string."""
        values = self.params.get(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """A boolean query parameter, as upstream reads it: anything but false and 0 is true."""
        values = self.params.get(name)
        if not values:
            return False
        return values[0].lower() not in ("false", "0")


@dataclass(slots=True)
class Attributes:
    """What an authorizer judges: who wants to do what to which resource or path."""

    user: UserInfo
    verb: str
    is_resource_request: bool = True
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""

    @classmethod
    def of(cls, user: UserInfo, info: RequestInfo) -> "Attributes":
        """The attributes of a classified request."""
        return cls(
            user,
            info.verb,
            info.is_resource_request,
            info.path,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            info.namespace,
            info.name,
            info.field_selector,
            info.label_selector,
        )


def request_info(request: Request) -> RequestInfo:
    """Classify a request; never raises, because unknown paths are answered by routing."""
    params = request.params() if request.query else _NO_PARAMETERS
    verb = request.method.lower()
    parts = [part for part in request.path.split("/") if part]
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return RequestInfo(False, request.path, verb, params)
    if parts[0] == "apis":
        if len(parts) < 4:
            return RequestInfo(False, request.path, verb, params)
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        group, version, rest = "", parts[1], parts[2:]
    return _resource_request(request, params, group, version, rest)


def _resource_request(
    request: Request,
    params: Mapping[str, list[str]],
    group: str,
    version: str,
    rest: list[str],
) -> RequestInfo:
    verb = _VERBS.get(request.method, "")
    if rest[0] in _SPECIAL_VERBS:
        verb, rest = rest[0], rest[1:]
    namespace = ""
    if len(rest) > 1 and rest[0] == "namespaces":
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    info = RequestInfo(True, request.path, verb, params, group, version, namespace)
    info.parts = tuple(rest)
    if rest:
        info.resource = rest[0]
    if len(rest) > 1:
        info.name = rest[1]
    if len(rest) > 2 and verb not in _SPECIAL_VERBS:
        info.subresource = rest[2]
    if not info.name:
        _classify_collection(info)
    if info.verb in _COLLECTION_VERBS and params:
        info.field_selector = info.param("fieldSelector")
        info.label_selector = info.param("labelSelector")
    return info


def _classify_collection(info: RequestInfo) -> None:
    if info.verb == "delete":
        info.verb = "deletecollection"
    elif info.verb == "get":
        info.verb = "watch" if info.params and info.flag("watch") else "list"
        selector = info.param("fieldSelector") if info.params else ""
        if selector:
            info.name = _exact_name(selector)


def _exact_name(selector: str) -> str:
    """The name that a field selector demands, if it demands one exactly."""
    for term in selector.split(","):
        key, equals, value = term.partition("=")
        if equals and key == "metadata.name":
            name = value.removeprefix("=")
            if name and name not in (".", "..") and not set(name) & set("/%"):
                return name
    return ""
