"""``/openapi/v2`` and ``/openapi/v3``: the documents, made when first asked for and kept.

A document is named by a hash of what it is made from, so the index of v3 costs nothing: only the
documents that a client opens are ever built. All are dropped when the registry changes.
"""

import hashlib
from collections.abc import Callable

import orjson

from kybern.api.errors import Obj
from kybern.api.kinds import Registry, ServedKind
from kybern.api.schema.openapi_v2 import openapi_v2
from kybern.api.schema.openapi_v2_protobuf import openapi_v2_protobuf
from kybern.api.schema.openapi_v3 import openapi_v3
from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.responses import compressed_for
from kybern.component.http.accept import parse_accept
from kybern.component.http.messages import Request, Response
from kybern.component.version import GIT_VERSION

# Old clients ask for the name with the @, which is no proper media type and is never answered.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_PROTOBUF_TYPES = (V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
_JSON = "application/json"

CustomSchemas = dict[tuple[str, str, str], Obj]


class OpenApi:
    """The endpoint of ``/openapi``. ``published`` are the schemas of custom kinds."""

    def __init__(self, registry: Registry, published: CustomSchemas) -> None:
        self._registry = registry
        self._published = published
        self._revision = -1
        self._kept: dict[str, bytes] = {}

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        if self._revision != self._registry.revision:
            self._kept.clear()
            self._revision = self._registry.revision
        path = info.path.strip("/")
        if path == "openapi/v2":
            return self._v2(request)
        if path == "openapi/v3":
            body = self._document("v3", self._index)
            return Response(200, {"Content-Type": _JSON}, body)
        return self._v3(request, path.removeprefix("openapi/v3/"), info)

    def _v2(self, request: Request) -> Response:
        protobuf = _wants_protobuf(request.headers.get("accept", ""))
        media_type = V2_PROTOBUF if protobuf else _JSON
        body = self._document("v2 protobuf" if protobuf else "v2", self._v2_maker(protobuf))
        return self._answer(request, body, media_type, _digest(body))

    def _v2_maker(self, protobuf: bool) -> Callable[[], bytes]:
        def make() -> bytes:
            document = openapi_v2(self._registry, self._published)
            return openapi_v2_protobuf(document) if protobuf else orjson.dumps(document)

        return make

    def _v3(self, request: Request, name: str, info: RequestInfo) -> Response:
        found = self._group_versions().get(name)
        if found is None:
            return Response(404)
        group, version = found
        digest = self._source_digest(group, version)
        asked = info.param("hash") if info.params else ""
        if asked and asked != digest:
            return Response(301, {"Location": f"/openapi/v3/{name}?hash={digest}"})

        def make() -> bytes:
            custom = {
                kind: schema
                for kind, schema in self._published.items()
                if kind[:2] == (group, version)
            }
            return orjson.dumps(openapi_v3(self._registry, group, version, custom))

        body = self._document(f"v3 {name}", make)
        response = self._answer(request, body, _JSON, digest)
        if asked:
            response.headers["Cache-Control"] = "public, immutable"
        return response

    def _index(self) -> bytes:
        paths = {}
        for name, (group, version) in sorted(self._group_versions().items()):
            digest = self._source_digest(group, version)
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
        return orjson.dumps({"paths": paths})

    def _group_versions(self) -> dict[str, tuple[str, str]]:
        """Every group version by the name of its document."""
        return {
            f"apis/{group.name}/{version}" if group.name else f"api/{version}": (
                group.name,
                version,
            )
            for group in self._registry.groups()
            for version in group.versions
        }

    def _source_digest(self, group: str, version: str) -> str:
        """A hash that changes when the document of a group version would."""
        resources = self._registry.resources(group, version)
        source = [GIT_VERSION, group, version, *map(self._described, resources)]
        return _digest(orjson.dumps(source))

    def _described(self, served: ServedKind) -> list[object]:
        kind = (served.group, served.version, served.kind.kind)
        subresources = [[sub.name, list(sub.verbs)] for sub in served.subresources]
        return [
            served.kind.plural,
            list(served.kind.verbs),
            subresources,
            self._published.get(kind),
        ]

    def _document(self, name: str, make: Callable[[], bytes]) -> bytes:
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = make()
        return found

    def _answer(self, request: Request, body: bytes, media_type: str, digest: str) -> Response:
        etag = f'"{digest}"'
        headers = {"Content-Type": media_type, "ETag": etag, "Vary": "Accept"}
        if request.headers.get("if-none-match") == etag:
            return Response(304, headers)
        return compressed_for(request, Response(200, headers, body))


def _wants_protobuf(accept: str) -> bool:
    """Whether the best clause of the Accept header names the protobuf form."""
    best = parse_accept(accept)[:1]
    return any(f"{clause.type}/{clause.subtype}" in _V2_PROTOBUF_TYPES for clause in best)


def _digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest().upper()
