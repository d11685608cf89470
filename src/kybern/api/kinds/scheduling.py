"""PriorityClass."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy


def _default(priority_class: Obj) -> None:
    if priority_class.get("preemptionPolicy") is None:
        priority_class["preemptionPolicy"] = "PreemptLowerPriority"


def _unchanged(new: Obj, old: Obj) -> bool:
    return False


COLUMNS = (
    NAME,
    Column("Value", at("value", default=0), "integer"),
    Column("Global-Default", at("globalDefault", default=False), "boolean"),
    AGE,
    Column("PreemptionPolicy", at("preemptionPolicy"), priority=1),
)


PRIORITY_CLASS = Kind(
    group="scheduling.k8s.io",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    short_names=("pc",),
    strategy=Strategy(default=_default, generation=_unchanged, namespaced=False),
    columns=COLUMNS,
)
