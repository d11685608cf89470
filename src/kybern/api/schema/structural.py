"""Types of custom resources, from the structural schema in their CustomResourceDefinition.

Custom resources keep what they were given: no quantity or empty field is rewritten, unknown fields
are pruned unless the schema preserves them. Their metadata is that of every other object. Wrong
types are left to validation, which answers 422 with field errors, as upstream does.
"""

from functools import partial
from typing import Any

from kybern.api.schema.builtin import builtin_type
from kybern.api.schema.types import ANYTHING, Field, ListType, Shape, Type

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_STRING = Type(Shape.STRING, "string")


def structural_type(schema: dict[str, Any], preserve_unknown: bool = False) -> Type:
    """The root type of a custom resource version."""
    return _object(schema, preserve_unknown, root=True)


def _object(schema: dict[str, Any], preserve_unknown: bool, root: bool = False) -> Type:
    return Type(
        Shape.STRUCT,
        make_fields=partial(_fields, schema, root, preserve_unknown),
        preserve_unknown=preserve_unknown or bool(schema.get(_PRESERVE)),
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
        lenient=True,
    )


def _fields(schema: dict[str, Any], root: bool, preserve_unknown: bool) -> dict[str, Field]:
    fields = {
        name: Field(
            name, _type(child, preserve_unknown), pointer=True, default=child.get("default")
        )
        for name, child in (schema.get("properties") or {}).items()
    }
    if root or schema.get("x-kubernetes-embedded-resource"):
        fields["apiVersion"] = Field("apiVersion", _STRING)
        fields["kind"] = Field("kind", _STRING)
        fields["metadata"] = Field("metadata", builtin_type(OBJECT_META), always=root)
    return fields


def _type(schema: dict[str, Any], preserve_unknown: bool) -> Type:
    kind = schema.get("type", "")
    if kind == "array":
        return Type(
            Shape.LIST,
            make_element=partial(_type, schema.get("items") or {}, preserve_unknown),
            list_type=ListType(schema.get("x-kubernetes-list-type", "atomic")),
            map_keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
            lenient=True,
        )
    if kind != "object":
        return ANYTHING
    values = schema.get("additionalProperties")
    if values is True:
        values = {_PRESERVE: True, "type": "object"} if preserve_unknown else {}
    if isinstance(values, dict):
        return Type(
            Shape.MAP,
            make_element=partial(_type, values, preserve_unknown),
            atomic=schema.get("x-kubernetes-map-type") == "atomic",
            lenient=True,
        )
    return _object(schema, preserve_unknown)
