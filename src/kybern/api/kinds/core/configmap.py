"""ConfigMap."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, Kind


def _entries(config_map: Obj, now: float) -> int:
    return len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())


CONFIG_MAP = Kind(
    group="",
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    columns=(NAME, Column("Data", _entries), AGE),
)
