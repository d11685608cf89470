"""ResourceQuota."""

from collections.abc import Callable

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy


def _default(quota: Obj) -> None:
    default_resource_list((quota.get("spec") or {}).get("hard"))
    status = quota.get("status") or {}
    default_resource_list(status.get("hard"))
    default_resource_list(status.get("used"))


def _use(limits: bool) -> Callable[[Obj, float], str]:
    """Used and hard amounts, of limits or of everything else."""

    def value(quota: Obj, now: float) -> str:
        status = quota.get("status") or {}
        used = status.get("used") or {}
        hard = sorted((status.get("hard") or {}).items())
        wanted = [(name, amount) for name, amount in hard if name.startswith("limits.") == limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{amount}" for name, amount in wanted)

    return value


RESOURCE_QUOTA = Kind(
    group="",
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    subresources=(status_of("ResourceQuota"),),
    strategy=Strategy(default=_default, status=True),
    columns=(NAME, Column("Request", _use(False)), Column("Limit", _use(True)), AGE),
)
