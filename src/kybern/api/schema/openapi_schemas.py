"""The definitions as upstream publishes them, from the dialect of the library they come in.

The library says null where a field is optional, spells quantities as alternatives and knows no
defaults. Both OpenAPI versions are made here, because they differ in few places: how a reference
is written, how a value that may be a string or a number is, and whether defaults are told.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.schema.builtin import builtin_type
from kybern.api.schema.definitions import definition, json_type, referenced
from kybern.api.schema.openapi_operations import is_known, kind_definition
from kybern.api.schema.types import Field, Shape

Obj = dict[str, Any]

_ZEROES: dict[Shape, Any] = {
    Shape.STRING: "",
    Shape.INTEGER: 0,
    Shape.NUMBER: 0,
    Shape.BOOLEAN: False,
}
# Any would do: all of them describe what objects and lists have in common in the same words.
_SOME_KIND = "io.k8s.api.core.v1.Namespace"
_SOME_LIST = "io.k8s.api.core.v1.NamespaceList"
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

    def custom(self, custom: Mapping[tuple[str, str, str], Obj]) -> dict[str, Obj]:
        """Schemas of custom kinds and their lists, by name, for :meth:`publish`.

        ``custom`` maps group, version and kind to the structural schema of the kind's version.
        """
        found = {}
        for group, version, kind in custom:
            name = kind_definition(group, version, kind)
            found[name] = self._custom_kind(custom[group, version, kind], group, version, kind)
            found[f"{name}List"] = self._custom_list(name, group, version, kind)
        return found

    def _custom_kind(self, schema: Obj, group: str, version: str, kind: str) -> Obj:
        if not self._v3 and schema.get("x-kubernetes-preserve-unknown-fields"):
            # Any property named here would make kubectl refuse all others.
            return {"type": "object", **_stands_for(group, version, kind)}
        out: Obj = schema if self._v3 else _without_v3_words(schema)
        properties = {**out.get("properties", {}), **self._common(_SOME_KIND)}
        return {
            "type": "object",
            **out,
            "properties": properties,
            **_stands_for(group, version, kind),
        }

    def _custom_list(self, name: str, group: str, version: str, kind: str) -> Obj:
        return {
            "description": f"{kind}List is a list of {kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                **self._common(_SOME_LIST),
                "items": {"type": "array", "items": {"$ref": self._prefix + name}},
            },
            **_stands_for(group, version, f"{kind}List"),
        }

    def _common(self, like: str) -> Obj:
        """What every object has, in the words that describe it for a built-in one."""
        properties = self.definition(like)["properties"]
        return {
            name: {key: value for key, value in properties[name].items() if key != "default"}
            for name in ("apiVersion", "kind", "metadata")
        }


def _stands_for(group: str, version: str, kind: str) -> Obj:
    return {"x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}]}


def _without_v3_words(schema: Obj) -> Obj:
    """A custom schema without what OpenAPI v2 has no words for, in upstream's way.

    What may be null, or hold unknown fields, loses its type, because kubectl would refuse them.
    """
    dropped = {"allOf", "anyOf", "not", "nullable", "oneOf"}
    nullable = schema.get("nullable")
    preserves = schema.get("x-kubernetes-preserve-unknown-fields")
    if nullable or preserves:
        dropped |= {"items", "properties"}
    kind = schema.get("type")
    without_items = kind == "array" and ("items" in dropped or "items" not in schema)
    if nullable or without_items or (preserves and kind == "object"):
        dropped.add("type")
    out = {key: value for key, value in schema.items() if key not in dropped}
    properties = out.get("properties") or {}
    if properties:
        out["properties"] = {name: _without_v3_words(p) for name, p in properties.items()}
    for child in ("items", "additionalProperties"):
        if isinstance(out.get(child), dict):
            out[child] = _without_v3_words(out[child])
    _forget_nullable_requirements(out, properties, schema.get("additionalProperties"))
    return out


def _forget_nullable_requirements(out: Obj, properties: Obj, additional: Any) -> None:
    """Without null in its words, v2 cannot require what may be null."""
    required = out.pop("required", None) or []
    if isinstance(additional, dict) and additional.get("nullable"):
        return
    required = [name for name in required if not (properties.get(name) or {}).get("nullable")]
    if required:
        out["required"] = required


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
