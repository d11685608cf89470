"""Deployment."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import Obj, StatusError
from kybern.api.kinds.columns import AGE, NAME, at, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.selectors import LabelSelector


def _default(deployment: Obj) -> None:
    spec = deployment.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        for name in ("maxUnavailable", "maxSurge"):
            if rolling.get(name) is None:
                rolling[name] = "25%"
        strategy["rollingUpdate"] = rolling
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    if spec.get("progressDeadlineSeconds") is None:
        spec["progressDeadlineSeconds"] = 600
    default_template(spec.setdefault("template", {}))


def _changed(new: Obj, old: Obj) -> bool:
    """Annotations count too, because the controller copies them to its replica sets."""
    if new.get("spec") != old.get("spec"):
        return True
    before, after = old["metadata"].get("annotations"), new["metadata"].get("annotations")
    return (before or {}) != (after or {})


def _ready(deployment: Obj, now: float) -> str:
    ready = at("status", "readyReplicas", default=0)(deployment, now)
    return f"{ready}/{at('spec', 'replicas', default=0)(deployment, now)}"


def _selector(deployment: Obj, now: float) -> str:
    try:
        return str(LabelSelector.from_object((deployment.get("spec") or {}).get("selector")))
    except StatusError:
        return "<invalid>"


COLUMNS = (
    NAME,
    Column("Ready", _ready),
    Column("Up-to-date", at("status", "updatedReplicas", default=0)),
    Column("Available", at("status", "availableReplicas", default=0)),
    AGE,
    *template_columns(),
    Column("Selector", _selector, priority=1),
)


DEPLOYMENT = Kind(
    group="apps",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("Deployment"),
    ),
    strategy=Strategy(default=_default, generation=_changed, status_keeps_labels=True, status=True),
    columns=COLUMNS,
)
