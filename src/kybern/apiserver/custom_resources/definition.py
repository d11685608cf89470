"""A kind out of a CustomResourceDefinition: versions, schemas, columns, scale, rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.api.ages import since
from kybern.api.errors import FieldError, Obj
from kybern.api.kinds import Column, Kind, ServedKind, Strategy, Subresource
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import SCALE, STANDARD_VERBS, status_of
from kybern.api.schema import TypeSchema
from kybern.apiserver.call import ScalePaths
from kybern.apiserver.custom_resources.defaulting import declares_defaults, fill_defaults
from kybern.apiserver.custom_resources.json_path import compile_path
from kybern.apiserver.custom_resources.judging import judge_of

GroupVersionKind = tuple[str, str, str]

_CELL_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


@dataclass(frozen=True)
class Definition:
    """What a definition adds to the server, by group, version and kind."""

    kind: Kind
    served: tuple[ServedKind, ...]
    schemas: dict[GroupVersionKind, TypeSchema]
    published: dict[GroupVersionKind, Obj]
    scale_paths: dict[GroupVersionKind, ScalePaths]


def define(crd: Obj, *, terminating: bool = False) -> Definition:
    """Read an accepted definition. A terminating one takes no new objects."""
    spec, names = crd["spec"], crd["status"]["acceptedNames"]
    group, name = spec["group"], names["kind"]
    versions = [version for version in spec["versions"] if version.get("served")]
    stored = next(version for version in spec["versions"] if version.get("storage"))
    schemas = {v["name"]: _schema_of(v) for v in spec["versions"]}
    verbs = tuple(v for v in STANDARD_VERBS if not (terminating and v == "create"))
    kind = Kind(
        group=group,
        kind=name,
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        versions=tuple(version["name"] for version in versions),
        storage_version=stored["name"],
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=verbs,
        selectable_fields=_selectable(stored),
        strategy=_strategy(spec, group, schemas, stored),
        resource_prefix=f"/registry/{group}/{names['plural']}",
    )
    served = tuple(_served(kind, version, name) for version in versions)
    return Definition(
        kind,
        served,
        {
            (group, version["name"], name): TypeSchema.from_structural(
                schemas[version["name"]],
                bool(spec.get("preserveUnknownFields")),
                group=group,
                version=version["name"],
                kind=name,
            )
            for version in spec["versions"]
        },
        {
            (group, version["name"], name): _published(schemas[version["name"]])
            for version in versions
        },
        {
            (group, version["name"], name): paths
            for version in versions
            if (paths := _scale_paths(version)) is not None
        },
    )


def _schema_of(version: Obj) -> Obj:
    schema: Obj = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
    return schema


def _served(kind: Kind, version: Obj, name: str) -> ServedKind:
    declared = version.get("subresources") or {}
    subresources: list[Subresource] = []
    if declared.get("scale") is not None:
        subresources.append(SCALE)
    if declared.get("status") is not None:
        subresources.append(status_of(name))
    columns = version.get("additionalPrinterColumns") or ()
    shown = tuple(_column(column) for column in columns)
    deprecation = ""
    if version.get("deprecated"):
        default = f"{kind.group}/{version['name']} {name} is deprecated"
        deprecation = version.get("deprecationWarning") or default
    return ServedKind(
        kind,
        kind.group,
        version["name"],
        columns=(NAME, *shown) if shown else (NAME, AGE),
        subresources=tuple(subresources),
        deprecation=deprecation,
    )


def _column(column: Obj) -> Column:
    read = compile_path(column.get("jsonPath", ""))
    kind = column.get("type", "string")
    return Column(
        column["name"],
        _cell(read, kind),
        type=kind,
        format=column.get("format", ""),
        description=column.get("description", ""),
        priority=column.get("priority", 0),
    )


def _cell(read: Callable[[Any], list[Any]], kind: str) -> Callable[[Obj, float], Any]:
    """What a column shows; values of another type than the column's are left out."""

    def cell(obj: Obj, now: float) -> Any:
        found = read(obj)
        if not found or found[0] is None:
            return None
        value = found[0]
        if kind == "date":
            return since(value, now) if isinstance(value, str) else None
        if kind == "string":
            texts = [_text(v) for v in found]
            return ",".join(texts)
        return value if isinstance(value, _CELL_TYPES.get(kind, object)) else None

    return cell


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _selectable(version: Obj) -> dict[str, Callable[[Obj], str]]:
    paths = [str(entry.get("jsonPath", "")) for entry in version.get("selectableFields") or ()]
    return {path.removeprefix("."): _reader(path) for path in paths}


def _reader(path: str) -> Callable[[Obj], str]:
    """The value at a path as text; empty where there is none."""
    read = compile_path(path)
    return lambda obj: "".join(map(_text, read(obj)[:1]))


def _scale_paths(version: Obj) -> ScalePaths | None:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return None
    return ScalePaths(
        _steps(scale.get("specReplicasPath", "")),
        _steps(scale.get("statusReplicasPath", "")),
        _steps(scale.get("labelSelectorPath") or ""),
    )


def _steps(path: str) -> tuple[str, ...]:
    return tuple(step for step in path.split(".") if step)


def _published(schema: Obj) -> Obj:
    """The schema as OpenAPI shows it, with what every object has."""
    texts = {"type": "string"}
    common = {"apiVersion": texts, "kind": texts, "metadata": {"type": "object"}}
    return {**schema, "properties": {**common, **(schema.get("properties") or {})}}


def _strategy(spec: Obj, group: str, schemas: dict[str, Obj], stored: Obj) -> Strategy:
    subresources = stored.get("subresources") or {}
    has_status = subresources.get("status") is not None
    schema = schemas[stored["name"]]

    def default(obj: Obj) -> None:
        version = str(obj.get("apiVersion", "")).rpartition("/")[2]
        fill_defaults(obj, schemas.get(version, schema))

    judge = judge_of(schema)

    def check(obj: Obj) -> list[FieldError]:
        return judge(obj, None)

    def changed(new: Obj, old: Obj) -> bool:
        ignored = {"apiVersion", "kind", "metadata"} | ({"status"} if has_status else set())
        return _without(new, ignored) != _without(old, ignored)

    return Strategy(
        any_finalizer=True,
        default=default,
        read=default if declares_defaults(schema) else None,
        check=check,
        check_update=judge,
        check_status=judge,
        checks_on_update=0,
        namespaced=spec["scope"] == "Namespaced",
        generation=changed,
        status=has_status,
        allow_unconditional_update=False,
    )


def _without(obj: Obj, names: set[str]) -> Obj:
    return {name: value for name, value in obj.items() if name not in names}
