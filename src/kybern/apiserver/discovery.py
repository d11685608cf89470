"""Discovery: which groups, versions and resources there are, plain and aggregated.

The pipeline sends ``/api``, ``/apis`` and what is below without naming a resource here. Documents
are derived from the registry and kept until it changes.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import orjson

from kybern.api.errors import Obj, method_not_allowed, no_such_path
from kybern.api.kinds import Registry, ServedKind, Subresource, storage_version_hash
from kybern.api.user import UserInfo
from kybern.apiserver.negotiation import negotiate
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.responses import page_not_found, respond
from kybern.component.http.accept import Clause, parse_accept
from kybern.component.http.messages import Request, Response

_AGGREGATED_GROUP = "apidiscovery.k8s.io"
_AGGREGATED_KIND = "APIGroupDiscoveryList"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")


class Discovery:
    """The endpoint of ``/api`` and ``/apis``. ``address`` is what ``/api`` tells clients."""

    def __init__(self, registry: Registry, address: str) -> None:
        self._registry = registry
        self._address = address
        self._revision = -1
        self._documents: dict[tuple[str, str], Any] = {}

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        if request.method != "GET":
            raise method_not_allowed()
        parts = [part for part in info.path.split("/") if part]
        if parts[0] == "apis" and len(parts) > 1 and not self._serves(parts[1]):
            return page_not_found()
        accept = request.headers.get("accept", "")
        version = _aggregated_version(accept) if len(parts) == 1 else ""
        if version:
            return self._aggregated(request, parts[0], version)
        pretty = info.param("pretty") if info.params else ""
        agent = request.headers.get("user-agent", "")
        output = negotiate(accept, agent, pretty, tables=False)
        document = self._kept("/".join(parts), "", lambda: self._plain(parts))
        return respond(document, 200, output)

    def _kept(self, path: str, form: str, make: Callable[[], Any]) -> Any:
        """A document, made once for each state of the registry."""
        if self._revision != self._registry.revision:
            self._documents.clear()
            self._revision = self._registry.revision
        found = self._documents.get((path, form))
        if found is None:
            # Unknown paths raise before they are kept, so the number of documents is bounded.
            found = self._documents[path, form] = make()
        return found

    def _plain(self, parts: list[str]) -> Obj:
        match parts:
            case ["api"]:
                address = {"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}
                return {
                    "kind": "APIVersions",
                    "versions": self._versions(""),
                    "serverAddressByClientCIDRs": [address],
                }
            case ["apis"]:
                groups = [self._group(g.name) for g in self._registry.groups() if g.name]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["api", version]:
                return self._resources("", version)
            case ["apis", group]:
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["apis", group, version]:
                return self._resources(group, version)
        raise no_such_path()

    def _serves(self, group: str) -> bool:
        return any(found.name == group for found in self._registry.groups())

    def _versions(self, group: str) -> list[str]:
        for found in self._registry.groups():
            if found.name == group:
                return list(found.versions)
        raise no_such_path()

    def _group(self, group: str) -> Obj:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version}
            for version in self._versions(group)
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resources(self, group: str, version: str) -> Obj:
        if version not in self._versions(group):
            raise no_such_path()
        resources: list[Obj] = []
        for served in self._registry.resources(group, version):
            resources.append(_resource(served))
            resources += [_subresource(served, sub) for sub in _ordered(served)]
        head: Obj = {"kind": "APIResourceList"}
        if group:
            head["apiVersion"] = "v1"
        group_version = f"{group}/{version}" if group else version
        return {**head, "groupVersion": group_version, "resources": resources}

    def _aggregated(self, request: Request, root: str, version: str) -> Response:
        body, etag = self._kept(root, version, lambda: self._encoded_aggregate(root, version))
        content_type = f"application/json;g={_AGGREGATED_GROUP};v={version};as={_AGGREGATED_KIND}"
        headers = {
            "Content-Type": content_type,
            "Cache-Control": "public",
            "ETag": etag,
            "Vary": "Accept",
        }
        if request.headers.get("if-none-match") == etag:
            return Response(304, headers)
        return Response(200, headers, body)

    def _encoded_aggregate(self, root: str, version: str) -> tuple[bytes, str]:
        groups = [g for g in self._registry.groups() if bool(g.name) == (root == "apis")]
        items = [
            {
                "metadata": {"name": group.name} if group.name else {},
                "versions": [self._aggregated_version(group.name, v) for v in group.versions],
            }
            for group in groups
        ]
        document = {
            "kind": _AGGREGATED_KIND,
            "apiVersion": f"{_AGGREGATED_GROUP}/{version}",
            "metadata": {},
            "items": items,
        }
        body = orjson.dumps(document)
        return body, f'"{hashlib.sha512(body).hexdigest().upper()}"'

    def _aggregated_version(self, group: str, version: str) -> Obj:
        resources = [_aggregated_resource(s) for s in self._registry.resources(group, version)]
        return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_version(accept: str) -> str:
    """The version of aggregated discovery that the client prefers to plain JSON, if any."""
    for clause in parse_accept(accept):
        if clause.matches("application/json"):
            return _clause_version(clause)
    return ""


def _clause_version(clause: Clause) -> str:
    params = dict(clause.params)
    wanted = params.get("g") == _AGGREGATED_GROUP and params.get("as") == _AGGREGATED_KIND
    version = params.get("v", "")
    return version if wanted and version in _AGGREGATED_VERSIONS else ""


def _ordered(served: ServedKind) -> list[Subresource]:
    return sorted(served.subresources, key=lambda sub: sub.name)


def _resource(served: ServedKind) -> Obj:
    kind = served.kind
    entry: Obj = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.stored:
        entry["storageVersionHash"] = storage_version_hash(kind)
    return entry


def _subresource(served: ServedKind, sub: Subresource) -> Obj:
    entry: Obj = {
        "name": f"{served.kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": served.kind.namespaced,
    }
    if sub.version:
        entry["group"], entry["version"] = sub.group, sub.version
    return {**entry, "kind": sub.kind, "verbs": list(sub.verbs)}


def _aggregated_resource(served: ServedKind) -> Obj:
    kind = served.kind
    entry: Obj = {
        "resource": kind.plural,
        "responseKind": {"group": "", "version": "", "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if served.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": list(sub.verbs),
            }
            for sub in _ordered(served)
        ]
    return entry
