"""Published OpenAPI: what kubectl reads of it, and that it describes all that is served."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from kybern.api.kinds import builtin_registry
from kybern.api.kinds.kind import Kind
from kybern.api.schema.openapi_v2 import openapi_v2
from kybern.api.schema.openapi_v2_protobuf import openapi_v2_protobuf
from kybern.api.schema.openapi_v3 import openapi_v3

REGISTRY = builtin_registry()


@pytest.fixture(scope="module")
def v2() -> Any:
    return openapi_v2(REGISTRY)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_of_every_document_resolves(v2: Any) -> None:
    for group in REGISTRY.groups():
        for version in group.versions:
            document = openapi_v3(REGISTRY, group.name, version)
            schemas = {f"#/components/schemas/{n}" for n in document["components"]["schemas"]}
            assert set(references(document)) <= schemas
    assert set(references(v2)) <= {f"#/definitions/{n}" for n in v2["definitions"]}


def test_paths_carry_what_kubectl_looks_for() -> None:
    document = openapi_v3(REGISTRY, "apps", "v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert patch["operationId"] == "patchAppsV1NamespacedDeployment"
    names = [parameter["name"] for parameter in patch["parameters"]]
    assert names == ["dryRun", "fieldManager", "fieldValidation", "force"]
    assert "application/apply-patch+yaml" in patch["requestBody"]["content"]
    scale = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
    assert scale["get"]["x-kubernetes-group-version-kind"]["group"] == "autoscaling"


def test_operation_ids_are_unique(v2: Any) -> None:
    ids = [
        operation["operationId"]
        for item in v2["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(ids) == len(set(ids)) > 400


def test_schemas_tell_types_and_defaults_as_upstream_does(v2: Any) -> None:
    schemas = openapi_v3(REGISTRY, "", "v1")["components"]["schemas"]
    port = schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]
    assert port["protocol"]["default"] == "TCP"
    assert port["containerPort"]["default"] == 0
    assert port["hostPort"]["type"] == "integer"
    assert "default" not in port["hostPort"]
    spec = schemas["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    assert spec["default"] == {}
    quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity"
    assert schemas[quantity]["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert v2["definitions"][quantity]["type"] == "string"
    assert "default" not in orjson.dumps(v2["definitions"]["io.k8s.api.core.v1.Pod"]).decode()


def test_custom_kinds_are_published_with_their_schema() -> None:
    registry = builtin_registry()
    registry.add(Kind("example.com", "Foo", "foos"))
    size = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    mood = {"type": "string", "enum": ["Great", "Down"], "default": "Down"}
    maybe = {"type": "object", "nullable": True, "properties": {"x": {"type": "string"}}}
    properties = {"size": size, "mood": mood, "maybe": maybe}
    schema = {"type": "object", "properties": properties, "required": ["maybe", "mood"]}
    custom = {("example.com", "v1", "Foo"): schema}
    old, new = openapi_v2(registry, custom), openapi_v3(registry, "example.com", "v1", custom)
    schemas = new["components"]["schemas"]
    assert schemas["com.example.v1.Foo"]["properties"]["size"] == size
    published = old["definitions"]["com.example.v1.Foo"]
    assert published["properties"]["size"] == {"x-kubernetes-int-or-string": True}
    assert published["properties"]["mood"] == mood
    assert published["properties"]["apiVersion"]["description"].startswith("APIVersion defines")
    assert "default" not in schemas["com.example.v1.Foo"]["properties"]["metadata"]
    assert (published["properties"]["maybe"], published["required"]) == ({}, ["mood"])
    for document, names in ((old, old["definitions"]), (new, schemas)):
        assert "com.example.v1.FooList" in names
        assert {reference.rpartition("/")[2] for reference in references(document)} <= set(names)
    path = "/apis/example.com/v1/namespaces/{namespace}/foos/{name}"
    strategic = "application/strategic-merge-patch+json"
    assert strategic not in old["paths"][path]["patch"]["consumes"]
    assert strategic not in new["paths"][path]["patch"]["requestBody"]["content"]
    assert dict(fields(openapi_v2_protobuf(old)))[1] == b"2.0"


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of one protobuf message, read independently of the writer."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            yield tag >> 3, data[position : position + length]
            position += length
        else:
            assert tag & 7 == 0
            yield tag >> 3, varint()


def named(data: bytes, field: int) -> dict[str, bytes]:
    entries = (dict(fields(value)) for number, value in fields(data) if number == field)
    return {entry[1].decode(): entry.get(2, b"") for entry in entries}


def test_the_protobuf_form_holds_the_same_document(v2: Any) -> None:
    document = dict(fields(openapi_v2_protobuf(v2)))
    assert document[1] == b"2.0"
    definitions = named(document[9], 1)
    assert definitions.keys() == v2["definitions"].keys()
    assert named(document[8], 2).keys() == v2["paths"].keys()
    pod_spec = dict(fields(definitions["io.k8s.api.core.v1.PodSpec"]))
    properties = named(pod_spec[25], 1)
    published = v2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert properties.keys() == published.keys()
    containers = dict(fields(properties["containers"]))
    assert containers[4].decode() == published["containers"]["description"]
    assert dict(fields(containers[22]))[1] == b"array"
    item = dict(fields(dict(fields(containers[23]))[1]))
    assert item[1] == b"#/definitions/io.k8s.api.core.v1.Container"
    extensions = named(properties["containers"], 31)
    assert dict(fields(extensions["x-kubernetes-patch-merge-key"]))[2] == b"name\n"
