"""What a client may apply: an object of the right kind and type, without managedFields.

Applied configurations are partial, so they are checked as they are, before any normalising.
"""

from typing import Any

from kybern.api.errors import Obj, bad_request
from kybern.api.managed_fields.elements import NoElement, child_type, is_list, item_element
from kybern.api.managed_fields.field_set import printed_path
from kybern.api.schema.type_schema import TypeSchema
from kybern.api.schema.types import Shape, Type


def require_applicable(applied: Obj, schema: TypeSchema, api_version: str) -> None:
    """StatusError 400 for another kind, for managedFields, or a value not of its type."""
    found_version, found_kind = applied.get("apiVersion", ""), applied.get("kind", "")
    if (found_version, found_kind) != (api_version, schema.kind or found_kind):
        raise bad_request(f"invalid object type: {found_version}, Kind={found_kind}")
    metadata = applied.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if (metadata or {}).get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    problem = _type_problem(schema.type, applied, "")
    if problem:
        name = (metadata or {}).get("name", "")
        namespace = (metadata or {}).get("namespace", "")
        raise bad_request(
            f"failed to create typed patch object ({namespace}/{name}; {found_version}, "
            f"Kind={found_kind}): {problem}"
        )


def _type_problem(kind: Type, value: Any, path: str) -> str:
    """The first place where a configuration is not of its type; empty if there is none."""
    if value is None or kind.shape is Shape.ANY:
        return ""
    if kind.shape in (Shape.STRUCT, Shape.MAP):
        if not isinstance(value, dict):
            return f"{path}: expected map, got &{{{value}}}" if not kind.lenient else ""
        return _fields_problem(kind, value, path)
    if kind.shape is Shape.LIST:
        if not isinstance(value, list):
            return f"{path}: expected list, got &{{{value}}}" if not kind.lenient else ""
        return _items_problem(kind, value, path)
    return _scalar_problem(kind, value, path)


def _fields_problem(kind: Type, value: Obj, path: str) -> str:
    for name, item in value.items():
        undeclared = kind.shape is Shape.STRUCT and name not in kind.fields
        if undeclared and not kind.preserve_unknown:
            return f"{path}.{name}: field not declared in schema"
        child = child_type(kind, name)
        if type(item) is str and child.shape is Shape.STRING:
            continue
        problem = _type_problem(child, item, f"{path}.{name}")
        if problem:
            return problem
    return ""


def _items_problem(kind: Type, value: list[Any], path: str) -> str:
    if is_list(kind, value):
        seen: set[str] = set()
        for index, item in enumerate(value):
            try:
                element = item_element(kind, item)
            except NoElement as missing:
                return f"{path}: element {index}: {missing}"
            if element in seen:
                return f"{path}: duplicate entries for key {printed_path((element,))}"
            seen.add(element)
    for index, item in enumerate(value):
        problem = _type_problem(kind.element, item, f"{path}[{index}]")
        if problem:
            return problem
    return ""


def _scalar_problem(kind: Type, value: Any, path: str) -> str:
    if isinstance(value, dict | list):
        return f"{path}: expected any scalar, got a {'map' if isinstance(value, dict) else 'list'}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind.shape in (Shape.INTEGER, Shape.NUMBER) and not number:
        return f"{path}: expected numeric (int or float), got {_go_type(value)}"
    if kind.shape in (Shape.STRING, Shape.BYTES) and not isinstance(value, str):
        return f"{path}: expected string, got &{{{value}}}"
    if kind.shape is Shape.BOOLEAN and not isinstance(value, bool):
        return f"{path}: expected boolean, got &{{{value}}}"
    return ""


def _go_type(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "string"
