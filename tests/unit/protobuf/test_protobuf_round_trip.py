"""What is written in protobuf reads back as what it was, for every field of every served kind."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api import protobuf
from kybern.api.kinds import ServedKind, builtin_registry
from kybern.api.protobuf.table import META, Field, fields_of, message_of

Obj = dict[str, Any]
SERVED = [served for kind in builtin_registry().kinds() for served in kind.served()]

SCALARS: dict[str, Any] = {"s": "text", "b": "Ynl0ZXM=", "i": -7, "o": True, "d": 0.5}
VALUES: dict[str, Any] = {
    f"{META}.Time": "2026-01-02T03:04:05Z",
    f"{META}.MicroTime": "2026-01-02T03:04:05.000006Z",
    f"{META}.FieldsV1": {"f:metadata": {"f:labels": {".": {}}}},
    f"{META}.Verbs": ["get", "list"],
    "api.authentication.v1.ExtraValue": ["a", "b"],
    "api.authorization.v1.ExtraValue": ["a", "b"],
    "api.certificates.v1.ExtraValue": ["a", "b"],
    "apimachinery.pkg.api.resource.Quantity": "1500m",
    "apimachinery.pkg.util.intstr.IntOrString": "25%",
    "apimachinery.pkg.runtime.RawExtension": {"any": [1, 2.5, None, "thing"]},
    "apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": {"default": [True]},
}


def full(message: str, inside: tuple[str, ...] = ()) -> Any:
    """A value with every field of a message set, but for messages that hold themselves."""
    if message in VALUES:
        return VALUES[message]
    union = message.rpartition(".")[2]
    if union.startswith("JSONSchemaPropsOr"):
        return {"JSONSchemaPropsOrBool": False}.get(union, ["text"] if "String" in union else [])
    obj: Obj = {}
    for field in fields_of(message).values():
        if field.label == ">":
            obj.update(full(field.type, inside))
        elif field.type not in (*inside, message):
            obj[field.name] = _repeated(field, (*inside, message))
    return obj


def _repeated(field: Field, inside: tuple[str, ...]) -> Any:
    value = SCALARS[field.type] if field.type in SCALARS else full(field.type, inside)
    if field.label == "*":
        return [value, value]
    return {"one": value, "two": value} if field.label == "%" else value


def full_object(served: ServedKind) -> Obj:
    message = message_of(served.api_version, served.kind.kind)
    return {"kind": served.kind.kind, "apiVersion": served.api_version, **full(message)}


@pytest.mark.parametrize("served", SERVED, ids=repr)
def test_every_field_of_a_kind(served: ServedKind) -> None:
    obj = full_object(served)
    assert protobuf.decode(protobuf.encode(obj)) == obj


def test_a_list_joined_from_messages_is_the_list_encoded_whole() -> None:
    pods = [{"metadata": {"name": name}, "spec": {"nodeName": "n"}} for name in ("a", "b")]
    metadata = {"resourceVersion": "7", "continue": "more", "remainingItemCount": 300}
    listed = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": pods}
    raw = protobuf.list_message(metadata, [protobuf.message("v1", "Pod", pod) for pod in pods])
    assert protobuf.decode(protobuf.envelope("v1", "PodList", raw)) == listed
    assert protobuf.decode(protobuf.encode(listed)) == listed


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_partial_metadata(version: str) -> None:
    listed = {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "a", "labels": {"b": ""}}}],
    }
    assert protobuf.decode(protobuf.encode(listed)) == listed


def test_a_status_of_any_version() -> None:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "no",
        "reason": "Invalid",
        "details": {"causes": [{"field": "spec"}], "retryAfterSeconds": 1},
        "code": 422,
    }
    assert protobuf.decode(protobuf.encode(status)) == status


def test_schemas_and_what_unions_hold_instead_of_them() -> None:
    schema = {
        "type": "object",
        "default": {"a": None},
        "enum": [None, 0, ""],
        "maximum": 1e300,
        "items": {"type": "string"},
        "additionalProperties": {"type": "integer"},
        "properties": {"x": {"additionalProperties": True}, "y": {"items": [{"type": "string"}]}},
        "$ref": "there",
        "x-kubernetes-list-type": "map",
    }
    versions = [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]
    crd = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "versions": versions},
    }
    assert protobuf.decode(protobuf.encode(crd)) == crd


def test_null_is_absence() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"creationTimestamp": None}}
    assert protobuf.decode(protobuf.encode(pod)) == {**pod, "metadata": {}}


def test_what_the_kind_does_not_have_is_left_out() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}
    assert protobuf.decode(protobuf.encode({**pod, "surprise": 1})) == pod


@given(
    ports=st.lists(
        st.one_of(st.integers(-(2**31), 2**31 - 1), st.text(max_size=9)), min_size=1, max_size=3
    ),
    labels=st.dictionaries(st.text(max_size=5), st.text(max_size=300), min_size=1),
    generation=st.integers(-(2**63), 2**63 - 1),
    day=st.datetimes().map(lambda day: day.replace(microsecond=0).isoformat() + "Z"),
)
def test_any_value_of_the_types_that_have_two_faces(
    ports: list[int | str], labels: dict[str, str], generation: int, day: str
) -> None:
    metadata = {"generation": generation, "labels": labels, "creationTimestamp": day}
    services = [{"port": generation % 65536, "targetPort": port} for port in ports]
    service = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": {"ports": services, "selector": labels},
    }
    assert protobuf.decode(protobuf.encode(service)) == service


@given(st.lists(st.tuples(st.sampled_from(["ADDED", "DELETED"]), st.binary(max_size=300))))
def test_frames_are_split_where_they_were_joined(events: list[tuple[str, bytes]]) -> None:
    frames = [protobuf.watch_frame(*event) for event in events]
    assert list(protobuf.watch_events(b"".join(frames))) == [frame[4:] for frame in frames]
