"""Types of the built-in kinds, from the OpenAPI definitions and the table of wire facts.

The definitions say what fields there are, their JSON types and how they merge. ``wire_types.txt``
adds what only upstream's own types know: which empty fields are written, and how error messages
name a type. Defaults that server-side apply needs to identify list items stand here as well.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from kybern.api.schema.definitions import definition, go_type_name, json_type, referenced
from kybern.api.schema.types import ANYTHING, Field, ListType, Shape, Type

_LEAF_DEFINITIONS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Shape.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Shape.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": Shape.TIME,
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": Shape.MICRO_TIME,
}
_KEY_DEFAULTS = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
}
_SCALARS = {
    "string": Shape.STRING,
    "boolean": Shape.BOOLEAN,
    "integer": Shape.INTEGER,
    "number": Shape.NUMBER,
}
_STRATEGY = "x-kubernetes-patch-strategy"
_MERGE_KEY = "x-kubernetes-patch-merge-key"


@cache
def _wire_lines() -> dict[str, str]:
    text = Path(__file__).with_name("wire_types.txt").read_text()
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return dict(line.split(" ", 1) for line in lines)


class _WireFacts(NamedTuple):
    """What the table says of one field."""

    marks: str = ""
    embedded: str = ""
    go_name: str = ""


def _wire_facts(name: str) -> dict[str, _WireFacts]:
    """Facts on a definition's uncommon fields."""
    facts = {}
    for entry in _wire_lines().get(name.removeprefix("io.k8s."), "").split():
        marked, _, go_name = entry.partition(":")
        marked, _, embedded = marked.partition("@")
        field = marked.rstrip("!?*")
        facts[field] = _WireFacts(marked[len(field) :], embedded, go_name)
    return facts


@cache
def builtin_type(name: str) -> Type:
    """The type of a definition; one node for each, shared by all that refer to it."""
    schema = definition(name)
    go_name = ".".join(name.rsplit(".", 2)[-2:])
    leaf = _LEAF_DEFINITIONS.get(name)
    if leaf is not None:
        return Type(leaf, go_name)
    if "properties" not in schema and json_type(schema) != "object":
        return ANYTHING
    if not schema.get("properties"):
        free = name.endswith((".FieldsV1", ".RawExtension", ".Patch"))
        return Type(Shape.ANY if free else Shape.STRUCT, go_name, atomic=free)
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    return Type(Shape.STRUCT, go_name, make_fields=partial(_fields, name), atomic=atomic)


def _fields(name: str) -> dict[str, Field]:
    facts = _wire_facts(name)
    return {
        field: _field(name, field, schema, facts.get(field, _WireFacts()))
        for field, schema in definition(name)["properties"].items()
    }


def _field(owner: str, name: str, schema: dict[str, Any], facts: _WireFacts) -> Field:
    strategies = schema.get(_STRATEGY, "")
    return Field(
        name,
        _type(schema, facts.go_name),
        always="!" in facts.marks,
        pointer="*" in facts.marks,
        omit_zero="?" in facts.marks,
        patch_strategies=frozenset(strategies.split(",")) if strategies else frozenset(),
        merge_key=schema.get(_MERGE_KEY, ""),
        default=_KEY_DEFAULTS.get((owner, name)),
        embedded=facts.embedded,
    )


def _type(schema: dict[str, Any], go_name: str = "") -> Type:
    """The type of a property, an item or a value; ``go_name`` where the schema does not tell."""
    name = referenced(schema)
    if name is not None:
        target = builtin_type(name)
        if schema.get("x-kubernetes-map-type") == "atomic" and not target.atomic:
            fields = partial(_fields, name)
            return Type(target.shape, target.go_name, make_fields=fields, atomic=True)
        return target
    kind = json_type(schema)
    go_name = go_name or go_type_name(schema)
    if kind == "array":
        return Type(
            Shape.LIST,
            go_name,
            make_element=partial(_type, schema["items"], _element_name(go_name)),
            list_type=ListType(schema.get("x-kubernetes-list-type", "atomic")),
            map_keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
        )
    if kind == "object":
        values = schema.get("additionalProperties", {})
        atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return Type(Shape.MAP, go_name, make_element=partial(_type, values), atomic=atomic)
    form = schema.get("format", "")
    if form == "byte":
        return Type(Shape.BYTES, go_name)
    shape = _SCALARS.get(kind)
    if shape is None:
        return ANYTHING
    return Type(shape, go_name, bits=32 if form == "int32" else 64)


def _element_name(go_name: str) -> str:
    """The type name of a list's items, where the list's own name tells it."""
    return go_name.removeprefix("[]") if go_name.startswith("[]") else ""
