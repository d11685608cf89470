"""The OpenAPI definitions of the served minor, out of the ``kubernetes-validate`` package.

One JSON file of 1.6 MB, parsed once on first use (about 6 ms). The definitions are published in
another dialect than Kubernetes' own; :func:`definition` hands them out as they are, and the rooms
beside this one read them: ``types`` compiles them, ``openapi_v2`` and ``openapi_v3`` turn them
back into what upstream publishes.
"""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

MINOR = "v1.36.0"
_REF_PREFIX = "#/$defs/"


@cache
def _definitions() -> dict[str, dict[str, Any]]:
    # Finding the package is enough: importing it would load a JSON schema library.
    package = find_spec("kubernetes_validate")
    assert package is not None and package.origin is not None
    schemas = Path(package.origin).with_name("kubernetes-json-schema")
    path = schemas / f"{MINOR}-local" / "_definitions.json"
    found: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())["$defs"]
    return found


def definition(name: str) -> dict[str, Any]:
    """The definition with this full name; KeyError if there is none. Read only."""
    return _definitions()[name]


def definition_names() -> Iterable[str]:
    """The full names of all definitions, sorted."""
    return sorted(_definitions())


def referenced(schema: dict[str, Any]) -> str | None:
    """The full name of the definition that a schema refers to."""
    reference = schema.get("$ref")
    return None if reference is None else reference.removeprefix(_REF_PREFIX)


def kinds(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Group, version and kind of each kind that a definition stands for."""
    return [
        (entry["group"], entry["version"], entry["kind"])
        for entry in schema.get("x-kubernetes-group-version-kind", ())
    ]


@cache
def _names_by_kind() -> dict[tuple[str, str, str], str]:
    return {kind: name for name, schema in _definitions().items() for kind in kinds(schema)}


def definition_of_kind(group: str, version: str, kind: str) -> str:
    """The full name of a kind's definition; KeyError if there is none."""
    return _names_by_kind()[group, version, kind]


def json_type(schema: dict[str, Any]) -> str:
    """The schema's one JSON type besides null; empty where anything goes."""
    declared = schema.get("type", "")
    return declared[0] if isinstance(declared, list) else declared


def go_type_name(schema: dict[str, Any]) -> str:
    """The type's name as upstream's decoder prints it, as far as the schema tells it."""
    name = referenced(schema)
    if name is not None:
        return ".".join(name.rsplit(".", 2)[-2:])
    kind, form = json_type(schema), schema.get("format", "")
    if kind == "array":
        return "[]" + go_type_name(schema["items"])
    if kind == "object":
        return "map[string]" + go_type_name(schema.get("additionalProperties", {}))
    if form == "byte":
        return "[]uint8"
    return {"boolean": "bool", "number": "float64", "integer": form}.get(kind, kind)
