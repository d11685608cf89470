"""Objects as people and programs want them: tables, YAML, JSON, names, jsonpath, columns."""

from collections.abc import Sequence
from typing import Any

import click
import orjson

from kybern.api import yaml
from kybern.api.errors import Obj
from kybern.api.resources import Resource
from kybern.kubectl import jsonpath

FORMATS = "wide, yaml, json, name, jsonpath=TEMPLATE, custom-columns=HEADER:PATH,..."
GAP = "   "


def is_structured(output: str) -> bool:
    """Whether the form needs whole objects rather than the server's table."""
    return output not in ("", "wide")


def table(
    tables: Sequence[tuple[str, Obj]], wide: bool, with_namespace: bool, headers: bool
) -> str:
    """Server tables as text; each comes with a prefix for its names (``pod/``) or none."""
    return "\n\n".join(_one_table(prefix, t, wide, with_namespace, headers) for prefix, t in tables)


def _one_table(prefix: str, shown: Obj, wide: bool, with_namespace: bool, headers: bool) -> str:
    columns = shown["columnDefinitions"]
    chosen = [i for i, column in enumerate(columns) if wide or not column.get("priority")]
    names = [columns[i]["name"].upper() for i in chosen]
    rows = []
    for row in shown.get("rows") or ():
        cells = [_cell(row["cells"][i]) for i in chosen]
        cells[0] = prefix + cells[0]
        if with_namespace:
            cells.insert(0, (row.get("object") or {}).get("metadata", {}).get("namespace", ""))
        rows.append(cells)
    if with_namespace:
        names.insert(0, "NAMESPACE")
    return aligned([names, *rows] if headers else rows)


def _cell(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def structured(items: Sequence[tuple[Resource, Obj]], output: str, single: bool) -> str:
    """Whole objects in a machine's form, ready to be written; several become a List."""
    if output == "name":
        return "".join(f"{typed_name(r, o)}\n" for r, o in items)
    objects = [obj for _, obj in items]
    document = objects[0] if single and objects else _as_list(objects)
    form, _, template = output.partition("=")
    if form == "json":
        return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"
    if form == "yaml":
        return yaml.dump(document).rstrip("\n") + "\n"
    if form == "jsonpath":
        return jsonpath.render(template, document)
    if form == "custom-columns":
        return custom_columns(template, objects) + "\n"
    raise click.UsageError(f'unknown output format "{output}", allowed: {FORMATS}')


def typed_name(resource: Resource, obj: Obj) -> str:
    """``deployment.apps/web``: how kubectl names an object on one line."""
    kind = resource.kind.lower()
    group = f".{resource.group}" if resource.group else ""
    return f"{kind}{group}/{obj['metadata']['name']}"


def _as_list(objects: list[Obj]) -> Obj:
    meta = {"resourceVersion": ""}
    return {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": meta}


def custom_columns(template: str, objects: list[Obj]) -> str:
    """``NAME:.metadata.name,IMAGE:.spec.containers[*].image`` for every object."""
    columns = [part.partition(":") for part in template.split(",")]
    rows = [[header for header, _, _ in columns]]
    for obj in objects:
        found = [jsonpath.values(path, obj) for _, _, path in columns]
        rows.append([",".join(jsonpath.text(v) for v in values) or "<none>" for values in found])
    return aligned(rows)
