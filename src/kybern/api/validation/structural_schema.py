"""Validation of the schemas of custom resources: structural, and nothing that is left out.

The rules are those of upstream's structural schemas: every value has a type, references and a few
costly keywords are refused, lists say how they merge. Rules in CEL have a file of their own.
"""

import re

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.schema_rules import schema_rules

TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "set", "map")
_MAP_TYPES = ("granular", "atomic")
_NO_TYPE = "must not be empty for specified {} fields"
_FORBIDDEN = {
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "id": "id is not supported",
    "patternProperties": "patternProperties is not supported",
    "additionalItems": "additionalItems is not supported",
    "$ref": "$ref is not supported",
}


def structural_schema(schema: Obj, path: str) -> list[FieldError]:
    """The schema of a whole custom resource."""
    errors: list[FieldError] = []
    if schema.get("type", "") == "":
        if not schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("properties"):
            errors.append(required(f"{path}.type", "must not be empty at the root"))
    elif schema["type"] != "object":
        errors.append(invalid_value(f"{path}.type", schema["type"], "must be object at the root"))
    errors += _schema(schema, path, root=True)
    # What rules speak of is known only where the schema is sound.
    return errors or schema_rules(schema, path)


def _schema(schema: Obj, path: str, *, root: bool = False) -> list[FieldError]:
    errors = [field_forbidden(f"{path}.{k}", v) for k, v in _FORBIDDEN.items() if schema.get(k)]
    kind = schema.get("type")
    if kind and kind not in TYPES:
        errors.append(not_supported(f"{path}.type", kind, TYPES))
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(field_forbidden(f"{path}.uniqueItems", text))
    if schema.get("pattern"):
        errors += _pattern(schema["pattern"], f"{path}.pattern")
    errors += _lists_and_maps(schema, path)
    errors += _children(schema, path)
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        errors.append(invalid_value(f"{path}.type", kind or "", text))
    return errors


def _pattern(pattern: str, path: str) -> list[FieldError]:
    try:
        re.compile(pattern)
    except re.error:
        text = "must be a valid regular expression, but isn't"
        return [invalid_value(path, pattern, f"{text}: {pattern}")]
    return []


def _lists_and_maps(schema: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    list_type, map_type = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-map-type")
    keys = schema.get("x-kubernetes-list-map-keys")
    at = f"{path}.x-kubernetes-list-type"
    if list_type is not None:
        if list_type not in _LIST_TYPES:
            errors.append(not_supported(at, list_type, _LIST_TYPES))
        if schema.get("type") != "array":
            text = "must be array if x-kubernetes-list-type is specified"
            errors.append(invalid_value(f"{path}.type", schema.get("type", ""), text))
    at = f"{path}.x-kubernetes-list-map-keys"
    if list_type == "map" and not keys:
        text = "must not be empty if x-kubernetes-list-type is map"
        errors.append(required(at, text))
    if keys and list_type != "map":
        text = "must be map if x-kubernetes-list-map-keys is non-empty"
        shown = list_type or ""
        errors.append(invalid_value(f"{path}.x-kubernetes-list-type", shown, text))
    if map_type is not None and map_type not in _MAP_TYPES:
        errors.append(not_supported(f"{path}.x-kubernetes-map-type", map_type, _MAP_TYPES))
    items = schema.get("items")
    properties = (items.get("properties") if isinstance(items, dict) else None) or {}
    for key in keys or () if list_type == "map" else ():
        if key not in properties:
            text = "entries must all be names of item properties"
            errors.append(invalid_value(at, keys, text))
            break
    return errors


def _children(schema: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    items = schema.get("items")
    if properties and additional is not None:
        text = "additionalProperties and properties are mutual exclusive"
        errors.append(field_forbidden(f"{path}.additionalProperties", text))
    if additional is False:
        text = "additionalProperties cannot be set to false"
        errors.append(field_forbidden(f"{path}.additionalProperties", text))
    for name, value in (properties or {}).items():
        errors += _typed(value, f"{path}.properties[{name}]", "object")
    if isinstance(additional, dict):
        errors += _typed(additional, f"{path}.additionalProperties", "object")
    if isinstance(items, dict):
        errors += _typed(items, f"{path}.items", "array")
    elif schema.get("type") == "array" and items is None:
        errors.append(required(f"{path}.items", "must be specified"))
    elif items is not None:
        text = "items must be a schema object and not an array"
        errors.append(field_forbidden(f"{path}.items", text))
    return errors


def _typed(schema: Obj, path: str, holder: str) -> list[FieldError]:
    """A value needs a type, unless an extension says that it has none."""
    errors: list[FieldError] = []
    either = schema.get("x-kubernetes-int-or-string")
    anything = schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not either and not anything:
        kind = "object" if holder == "object" else "array items"
        errors.append(required(f"{path}.type", _NO_TYPE.format(kind)))
    if either and schema.get("type"):
        text = "must be empty if x-kubernetes-int-or-string is true"
        errors.append(field_forbidden(f"{path}.type", text))
    return errors + _schema(schema, path)
