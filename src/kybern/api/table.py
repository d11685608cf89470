"""``meta.k8s.io/v1`` Tables: what ``kubectl get`` prints, made by the server.

The API server calls :func:`render` for a list, a single object or a watch event when the client
accepts a Table. Columns belong to the kinds; kinds without any get Name and Age.
"""

from collections.abc import Iterable, Sequence

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, ServedKind

DEFAULT_COLUMNS = (NAME, AGE)
TABLE_VERSION = "meta.k8s.io/v1"


def definitions(columns: Sequence[Column]) -> list[Obj]:
    """``columnDefinitions`` of a Table."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in columns
    ]


def render(
    kind: ServedKind,
    items: Iterable[Obj],
    include_object: str = "Metadata",
    now: float = 0.0,
    *,
    list_meta: Obj | None = None,
    with_columns: bool = True,
) -> Obj:
    """A Table of ``items``. ``include_object`` is Metadata, Object or None, as in the query.

    ``now`` is the present in epoch seconds, for ages. Watches leave the column definitions out
    after their first event by passing ``with_columns=False``.
    """
    columns = kind.columns or DEFAULT_COLUMNS
    return {
        "kind": "Table",
        "apiVersion": TABLE_VERSION,
        "metadata": list_meta or {},
        "columnDefinitions": definitions(columns) if with_columns else [],
        "rows": [_row(kind, columns, item, include_object, now) for item in items],
    }


def _row(
    kind: ServedKind, columns: Sequence[Column], item: Obj, include_object: str, now: float
) -> Obj:
    stored = kind.to_storage(item)
    row: Obj = {"cells": [column.value(stored, now) for column in columns], "object": None}
    if include_object == "Object":
        row["object"] = item
    elif include_object != "None":
        row["object"] = partial_metadata(item)
    return row


def partial_metadata(item: Obj) -> Obj:
    """The object as ``PartialObjectMetadata``."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": TABLE_VERSION,
        "metadata": item["metadata"],
    }
