"""ConfigMap."""

from kybern.api.errors import FieldError, Obj, invalid_value, too_long
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.config_data import MAX_BYTES, data_keys, decoded_size, sealed


def _entries(config_map: Obj, now: float) -> int:
    return len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())


def _check(config_map: Obj) -> list[FieldError]:
    data, binary = config_map.get("data"), config_map.get("binaryData")
    errors = data_keys(data, "data")
    for key in data or ():
        if key in (binary or ()):
            text = "duplicate of key present in binaryData"
            errors.append(invalid_value(f"data[{key}]", key, text))
    errors += data_keys(binary, "binaryData")
    size = sum(len(value.encode()) for value in (data or {}).values()) + decoded_size(binary)
    if size > MAX_BYTES:
        errors.append(too_long("", MAX_BYTES))
    return errors


CONFIG_MAP = Kind(
    group="",
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    columns=(NAME, Column("Data", _entries), AGE),
    strategy=Strategy(
        metadata_checks=2,
        check=_check,
        check_update=lambda new, old: sealed(new, old, ("data", "binaryData")),
    ),
)
