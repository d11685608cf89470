"""HorizontalPodAutoscaler."""

from kybern.api.errors import FieldError, Obj
from kybern.api.kinds.autoscaling.conversion import DEFAULT_UTILIZATION, convert, cpu_metric
from kybern.api.kinds.autoscaling.targets import targets
from kybern.api.kinds.autoscaling.validation import check_autoscaler
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.workloads import counts

_SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def _default(autoscaler: Obj) -> None:
    spec = autoscaler.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if autoscaler.get("apiVersion") == "autoscaling/v1":
        return
    if not spec.get("metrics"):
        spec["metrics"] = [cpu_metric(DEFAULT_UTILIZATION)]
    behavior = spec.get("behavior")
    if behavior is not None:
        for name, rules in (("scaleUp", _SCALE_UP), ("scaleDown", _SCALE_DOWN)):
            given = {k: v for k, v in (behavior.get(name) or {}).items() if v is not None}
            policies = [dict(policy) for policy in rules["policies"]]  # type: ignore[attr-defined]
            behavior[name] = {**rules, "policies": policies, **given}


def _reference(autoscaler: Obj, now: float) -> str:
    target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _minimum(autoscaler: Obj, now: float) -> str:
    return str(at("spec", "minReplicas", default="<unset>")(autoscaler, now))


COLUMNS = (
    NAME,
    Column("Reference", _reference),
    Column("Targets", targets),
    Column("MinPods", _minimum),
    Column("MaxPods", at("spec", "maxReplicas", default=0)),
    Column("Replicas", at("status", "currentReplicas", default=0)),
    AGE,
)


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    return counts(new.get("status") or {}, ("currentReplicas", "desiredReplicas"), "status")


HORIZONTAL_POD_AUTOSCALER = Kind(
    group="autoscaling",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    versions=("v2", "v1"),
    short_names=("hpa",),
    categories=("all",),
    subresources=(status_of("HorizontalPodAutoscaler"),),
    strategy=Strategy(
        check=check_autoscaler,
        check_status=_check_status,
        default=_default,
        convert=convert,
        create=lambda o: o.__setitem__("status", {"currentMetrics": None, "desiredReplicas": 0}),
        status=True,
    ),
    columns=COLUMNS,
)
