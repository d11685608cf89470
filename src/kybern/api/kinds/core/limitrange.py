"""LimitRange."""

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.errors import Obj
from kybern.api.kinds.columns import CREATED_AT, NAME
from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

_LISTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def _default(limit_range: Obj) -> None:
    """For containers the default limit is the maximum, the default request the default limit."""
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        for name in _LISTS:
            default_resource_list(item.get(name))
        if item.get("type") != "Container":
            continue
        limits = item.get("default") or {}
        requests = item.get("defaultRequest") or {}
        limits = {**(item.get("max") or {}), **limits}
        requests = {**(item.get("min") or {}), **limits, **requests}
        if limits:
            item["default"] = limits
        if requests:
            item["defaultRequest"] = requests


LIMIT_RANGE = Kind(
    group="",
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    strategy=Strategy(default=_default, allow_create_on_update=True),
    columns=(NAME, CREATED_AT),
)
