"""OpenAPI v3: one document per group version.

``kubectl explain`` and client-side validation read these through the API server's ``/openapi/v3``.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kybern.api.schema.openapi_operations import (
    DELETE_OPTIONS,
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

_PREFIX = "#/components/schemas/"
_PUBLISHER = SchemaPublisher(_PREFIX, v3=True)
_MEDIA_TYPES = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
_STREAMING = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
_SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
}


def openapi_v3(
    registry: "Registry",
    group: str,
    version: str,
    custom: Mapping[tuple[str, str, str], Obj] | None = None,
) -> Obj:
    """The document of one group version.

    ``custom`` holds the structural schemas of custom kinds by group, version and kind.
    """
    served = registry.resources(group, version)
    paths = {f"{base_path(group, version)}/": _discovery_item(group, version)}
    names = [RESOURCE_LIST, PATCH, WATCH_EVENT]
    for entry in served:
        names.append(kind_definition(entry.group, entry.version, entry.kind.kind))
        for item in path_items(entry):
            paths[item.path] = _path_item(item, is_custom(entry, custom))
            for operation in item.operations:
                names += [name for name in (operation.body, operation.response) if name]
    extra = _PUBLISHER.custom(custom or {})
    schemas = _PUBLISHER.publish(names, extra)
    for name in (DELETE_OPTIONS, WATCH_EVENT):
        if name in schemas:
            schemas[name] = _of_version(schemas[name], group, version)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": _SECURITY,
        },
    }


def _of_version(schema: Obj, group: str, version: str) -> Obj:
    """A schema that stands for a kind in every group, with the kinds of this one and of core."""
    told = (("", "v1"), (group, version))
    kinds = [
        kind
        for kind in schema["x-kubernetes-group-version-kind"]
        if (kind["group"], kind["version"]) in told
    ]
    return {**schema, "x-kubernetes-group-version-kind": kinds}


def _discovery_item(group: str, version: str) -> Obj:
    words = group_words(group) + version[:1].upper() + version[1:]
    return {
        "get": {
            "tags": [tag(group, version)],
            "description": "get available resources",
            "operationId": f"get{words}APIResources",
            "responses": {
                "200": {"description": "OK", "content": _content(_MEDIA_TYPES, RESOURCE_LIST)},
                "401": {"description": "Unauthorized"},
            },
        }
    }


def _path_item(item: PathItem, custom: bool) -> Obj:
    shared = [_path_parameter(name, text) for name, text in item.path_parameters]
    shared += [_query_parameter(name) for name in item.parameters]
    out: Obj = {operation.method: _operation(operation, custom) for operation in item.operations}
    out["parameters"] = sorted(shared, key=lambda parameter: parameter["name"])
    return out


def _path_parameter(name: str, description: str) -> Obj:
    return {
        "name": name,
        "in": "path",
        "description": description,
        "required": True,
        "schema": {"type": "string", "uniqueItems": True},
    }


def _query_parameter(name: str) -> Obj:
    kind = PARAMETER_TYPES[name]
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


def _operation(operation: Operation, custom: bool) -> Obj:
    group, version, kind = operation.kind
    out: Obj = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.operation_id,
    }
    if operation.parameters:
        out["parameters"] = [_query_parameter(name) for name in operation.parameters]
    if operation.body:
        accepted = patch_types(custom) if operation.body == PATCH else ("*/*",)
        out["requestBody"] = {"content": _content(accepted, operation.body)}
        if operation.body_required:
            out["requestBody"]["required"] = True
    produced = _MEDIA_TYPES + (_STREAMING if operation.streams else ())
    responses: Obj = {
        str(code): {
            "description": text,
            "content": _content(produced if operation.response else ("*/*",), operation.response),
        }
        for code, text in operation.statuses
    }
    responses["401"] = {"description": "Unauthorized"}
    out["responses"] = responses
    out["x-kubernetes-action"] = operation.action
    out["x-kubernetes-group-version-kind"] = {"group": group, "version": version, "kind": kind}
    return out


def _content(media_types: Iterable[str], name: str) -> Obj:
    schema = {"$ref": _PREFIX + name} if name else {"type": "string"}
    return {media_type: {"schema": schema} for media_type in sorted(media_types)}
