"""Custom resources: pruned by their schema, otherwise kept as they are."""

import pytest

from kybern.api.errors import StatusError
from kybern.api.schema import TypeSchema

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                },
            },
        }
    },
}


def custom(preserve_unknown: bool = False) -> TypeSchema:
    return TypeSchema.from_structural(
        SCHEMA, preserve_unknown, group="x.io", version="v1", kind="Foo"
    )


def test_unknown_fields_are_pruned_and_values_kept() -> None:
    obj = {
        "apiVersion": "x.io/v1",
        "kind": "Foo",
        "metadata": {"name": "a", "labels": {}},
        "spec": {
            "size": "not a number",
            "free": {"any": {"thing": None}},
            "tags": {"a": ""},
            "parts": [{"name": "p", "more": 1}],
            "gone": 1,
        },
        "extra": 1,
    }
    schema = custom()
    assert sorted(schema.check(obj)) == ["extra", "spec.gone", "spec.parts[0].more"]
    assert schema.normalise(obj) == {
        "apiVersion": "x.io/v1",
        "kind": "Foo",
        "metadata": {"name": "a"},
        "spec": {
            "size": "not a number",
            "free": {"any": {"thing": None}},
            "tags": {"a": ""},
            "parts": [{"name": "p"}],
        },
    }


def test_nothing_is_pruned_where_the_version_preserves() -> None:
    obj = {"metadata": {}, "spec": {"gone": {"x": 1}}, "extra": 1}
    assert custom(preserve_unknown=True).normalise(obj) == obj


def test_metadata_is_checked_like_that_of_any_object() -> None:
    with pytest.raises(StatusError, match="cannot unmarshal number"):
        custom().normalise({"metadata": {"labels": {"a": 1}}})
