"""Deployment."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import (
    FieldError,
    Obj,
    StatusError,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.columns import AGE, NAME, at, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.selectors import LabelSelector
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import (
    no_active_deadline,
    restart_policy,
    workload_template,
)
from kybern.api.validation.workloads import (
    amount,
    at_most_all,
    counts,
    fixed_selector,
    int_or_percent,
    internal,
    replica_status,
    selector,
)


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


_STATUS_PARTS = ("updatedReplicas", "readyReplicas", "availableReplicas")
_TYPES = ("Recreate", "RollingUpdate")


def _check(deployment: Obj) -> list[FieldError]:
    spec = deployment.get("spec") or {}
    errors = counts(spec, ("replicas",), "spec")
    errors += selector(spec.get("selector"), "deployment", "spec.selector")
    template = spec.get("template") or {}
    errors += workload_template(template, spec.get("selector"), "spec.template")
    errors += restart_policy(template, ("Always",), "spec.template")
    errors += no_active_deadline(template, "ReplicaSet", "spec.template")
    errors += _check_strategy(spec.get("strategy") or {}, "spec.strategy")
    names = ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    errors += counts(spec, names, "spec")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        errors.append(invalid_value("spec.progressDeadlineSeconds", deadline, text))
    return errors


def _check_strategy(strategy: Obj, path: str) -> list[FieldError]:
    rolling, kind = strategy.get("rollingUpdate"), strategy.get("type")
    if kind == "Recreate":
        if rolling is None:
            return []
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [field_forbidden(f"{path}.rollingUpdate", text)]
    if kind != "RollingUpdate":
        return [not_supported(path, internal(strategy), _TYPES)]
    if rolling is None:
        text = "this should be defaulted and never be nil"
        return [required(f"{path}.rollingUpdate", text)]
    at = f"{path}.rollingUpdate.maxUnavailable"
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    errors = int_or_percent(unavailable, at)
    errors += int_or_percent(surge, f"{path}.rollingUpdate.maxSurge")
    if amount(unavailable) == 0 and amount(surge) == 0:
        errors.append(invalid_value(at, unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + at_most_all(unavailable, at)


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
    strategy=Strategy(
        check=_check,
        check_update=fixed_selector,
        check_status=lambda new, old: replica_status(new, old, _STATUS_PARTS),
        warnings=lambda o: template_warnings(o["spec"].get("template") or {}),
        default=_default,
        generation=_changed,
        status_keeps_labels=True,
        status=True,
        resets={"status": (("metadata", "labels"), ("spec",))},
    ),
    columns=COLUMNS,
)
