"""OpenAPI v2: all kinds in one document, for older clients.

kubectl 1.20 reads it for ``explain`` and validation, in the protobuf form that
``openapi_v2_protobuf`` writes from what :func:`openapi_v2` returns.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kybern.api.schema.openapi_operations import (
    PARAMETER_TYPES,
    PATCH,
    RESOURCE_LIST,
    WATCH_EVENT,
    Operation,
    PathItem,
    base_path,
    group_words,
    is_custom,
    kind_definition,
    patch_types,
    path_items,
    tag,
)
from kybern.api.schema.openapi_schemas import SchemaPublisher

if TYPE_CHECKING:
    from kybern.api.kinds import Registry

Obj = dict[str, Any]

_PREFIX = "#/definitions/"
_PUBLISHER = SchemaPublisher(_PREFIX, v3=False)
_MEDIA_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_STREAMING = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")


def openapi_v2(
    registry: "Registry", custom: Mapping[tuple[str, str, str], Obj] | None = None
) -> Obj:
    """The document of everything served.

    ``custom`` holds the structural schemas of custom kinds by group, version and kind.
    """
    paths: dict[str, Obj] = {}
    names = [RESOURCE_LIST, PATCH, WATCH_EVENT]
    for group in registry.groups():
        for version in group.versions:
            paths[f"{base_path(group.name, version)}/"] = _discovery_item(group.name, version)
            for entry in registry.resources(group.name, version):
                names.append(kind_definition(entry.group, entry.version, entry.kind.kind))
                for item in path_items(entry):
                    paths[item.path] = _path_item(item, is_custom(entry, custom))
                    for operation in item.operations:
                        names += [name for name in (operation.body, operation.response) if name]
    extra = _PUBLISHER.custom(custom or {})
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": dict(sorted(paths.items())),
        "definitions": _PUBLISHER.publish(names, extra),
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }


def _discovery_item(group: str, version: str) -> Obj:
    words = group_words(group) + version[:1].upper() + version[1:]
    return {
        "get": {
            "description": "get available resources",
            "consumes": list(_MEDIA_TYPES),
            "produces": list(_MEDIA_TYPES),
            "schemes": ["https"],
            "tags": [tag(group, version)],
            "operationId": f"get{words}APIResources",
            "responses": _responses(((200, "OK"),), RESOURCE_LIST),
        }
    }


def _path_item(item: PathItem, custom: bool) -> Obj:
    shared = [
        {
            "uniqueItems": True,
            "type": "string",
            "description": description,
            "name": name,
            "in": "path",
            "required": True,
        }
        for name, description in item.path_parameters
    ]
    shared += [_query_parameter(name) for name in item.parameters]
    out: Obj = {operation.method: _operation(operation, custom) for operation in item.operations}
    out["parameters"] = sorted(shared, key=lambda parameter: str(parameter["name"]))
    return out


def _query_parameter(name: str) -> Obj:
    return {"uniqueItems": True, "type": PARAMETER_TYPES[name], "name": name, "in": "query"}


def _operation(operation: Operation, custom: bool) -> Obj:
    group, version, kind = operation.kind
    parameters: list[Obj] = [_query_parameter(name) for name in operation.parameters]
    if operation.body:
        body: Obj = {"name": "body", "in": "body", "schema": {"$ref": _PREFIX + operation.body}}
        parameters.insert(0, {**body, "required": True} if operation.body_required else body)
    produces = _MEDIA_TYPES + (_STREAMING if operation.streams else ())
    out: Obj = {
        "description": operation.description,
        "consumes": list(patch_types(custom) if operation.body == PATCH else ("*/*",)),
        "produces": list(produces if operation.response else ("*/*",)),
        "schemes": ["https"],
        "tags": [operation.tag],
        "operationId": operation.operation_id,
    }
    if parameters:
        out["parameters"] = parameters
    out["responses"] = _responses(operation.statuses, operation.response)
    out["x-kubernetes-action"] = operation.action
    out["x-kubernetes-group-version-kind"] = {"group": group, "version": version, "kind": kind}
    return out


def _responses(statuses: tuple[tuple[int, str], ...], name: str) -> Obj:
    schema = {"$ref": _PREFIX + name} if name else {"type": "string"}
    out: Obj = {str(code): {"description": text, "schema": schema} for code, text in statuses}
    out["401"] = {"description": "Unauthorized"}
    return out
