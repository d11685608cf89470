"""Fills in the defaults that a structural schema declares."""

from typing import Any

import orjson

from kybern.api.errors import Obj


def fill_defaults(value: Any, schema: Obj) -> None:
    """Set what is absent, in place, all the way down; nulls that may not be count as absent."""
    if isinstance(value, dict):
        _fill_object(value, schema)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                fill_defaults(item, items)


def declares_defaults(schema: Obj) -> bool:
    """Whether there is anything to fill in."""
    inner = [*(schema.get("properties") or {}).values()]
    inner += [schema.get("items"), schema.get("additionalProperties")]
    children = (child for child in inner if isinstance(child, dict))
    return "default" in schema or any(map(declares_defaults, children))


def _fill_object(value: Obj, schema: Obj) -> None:
    for name, child in (schema.get("properties") or {}).items():
        absent = name not in value or (value[name] is None and not child.get("nullable"))
        if absent and "default" in child:
            value[name] = orjson.loads(orjson.dumps(child["default"]))
        if name in value:
            fill_defaults(value[name], child)
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        known = schema.get("properties") or {}
        for name, item in value.items():
            if name not in known:
                fill_defaults(item, additional)
