"""Secret: its type and its write-only ``stringData``."""

import base64

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, field, length
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy


def _default(secret: Obj) -> None:
    """``stringData`` is a way to write ``data``; it is never stored."""
    if not secret.get("type"):
        secret["type"] = "Opaque"
    text = secret.pop("stringData", None)
    if text:
        data = secret.get("data") or {}
        for key, value in text.items():
            data[key] = base64.b64encode(value.encode()).decode()
        secret["data"] = data


def _update(new: Obj, old: Obj) -> None:
    if not new.get("type"):
        new["type"] = old.get("type", "")


SECRET = Kind(
    group="",
    kind="Secret",
    plural="secrets",
    strategy=Strategy(default=_default, update=_update),
    columns=(NAME, Column("Type", at("type")), Column("Data", length("data")), AGE),
    selectable_fields={"type": field("type")},
)
