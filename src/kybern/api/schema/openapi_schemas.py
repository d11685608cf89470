"""The definitions as upstream publishes them, from the dialect of the library they come in.

The library says null where a field is optional, spells quantities as alternatives and knows no
defaults. Both OpenAPI versions are made here, because they differ in few places: how a reference
is written, how a value that may be a string or a number is, and whether defaults are told.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.schema.builtin import builtin_type
from kybern.api.schema.definitions import definition, json_type, referenced
from kybern.api.schema.openapi_operations import is_known
from kybern.api.schema.types import Field, Shape

Obj = dict[str, Any]

_ZEROES: dict[Shape, Any] = {
    Shape.STRING: "",
    Shape.INTEGER: 0,
    Shape.NUMBER: 0,
    Shape.BOOLEAN: False,
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_V2_LEAVES: dict[str, Obj] = {
    _QUANTITY: {"type": "string"},
    _INT_OR_STRING: {"type": "string", "format": "int-or-string"},
}
_V3_LEAVES: dict[str, Obj] = {
    _QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    _INT_OR_STRING: {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}


class SchemaPublisher:
    """Publishes definitions with references under ``prefix``; ``v3`` chooses the dialect."""

    def __init__(self, prefix: str, *, v3: bool) -> None:
        self._prefix = prefix
        self._v3 = v3

    def publish(self, names: Iterable[str], extra: Mapping[str, Obj]) -> dict[str, Obj]:
        """The named definitions and all that they refer to, by name.

        ``extra`` holds schemas of custom resources; they may refer to built-in definitions.
        """
        found: dict[str, Obj] = {}
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in found:
                continue
            if name in extra:
                found[name] = extra[name]
                pending += _references(extra[name], self._prefix)
            elif is_known(name):
                found[name] = self.definition(name)
                pending += _references(found[name], self._prefix)
        return dict(sorted(found.items()))

    def definition(self, name: str) -> Obj:
        """One definition in the published dialect."""
        source = definition(name)
        leaf = (_V3_LEAVES if self._v3 else _V2_LEAVES).get(name)
        if leaf is not None:
            return {"description": source.get("description", ""), **leaf}
        out = self._schema(source)
        if "properties" in source:
            fields = builtin_type(name).fields
            out["properties"] = {
                field: self._property(schema, fields[field])
                for field, schema in sorted(source["properties"].items())
            }
        return out

    def _property(self, schema: Obj, field: Field) -> Obj:
        out = self._schema(schema)
        out.pop("enum", None)
        if not self._v3:
            return out
        default = _published_default(field)
        reference = out.pop("$ref", None)
        if reference is not None:
            out["allOf"] = [{"$ref": reference}]
        if default is not None:
            out["default"] = default
        return out

    def _schema(self, schema: Obj) -> Obj:
        name = referenced(schema)
        out = {
            key: value
            for key, value in schema.items()
            if key == "description" or key in ("format", "required") or key.startswith("x-")
        }
        if name is not None:
            out["$ref"] = self._prefix + name
            return out
        kind = json_type(schema)
        if kind:
            out["type"] = kind
        for inner in ("items", "additionalProperties"):
            if inner in schema:
                out[inner] = self._schema(schema[inner])
        return out


def _published_default(field: Field) -> Any:
    """The default that upstream publishes: what an absent field that is always written holds."""
    if field.default is not None:
        return field.default
    if not field.always or field.pointer:
        return None
    if field.type.shape is Shape.STRUCT:
        return {}
    return _ZEROES.get(field.type.shape)


def _references(schema: Any, prefix: str) -> list[str]:
    found: list[str] = []
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                found.append(reference.removeprefix(prefix))
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return found
