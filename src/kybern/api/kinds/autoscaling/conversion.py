"""HorizontalPodAutoscaler between autoscaling/v1 and v2, which is what is stored.

v1 knows one number, the CPU target. Everything else travels in annotations, so that an object read
and written back as v1 loses nothing.
"""

from typing import Any

import orjson

from kybern.api.errors import Obj

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_ANNOTATIONS = (METRICS, CURRENT_METRICS, BEHAVIOR, CONDITIONS)
DEFAULT_UTILIZATION = 80

_Names = dict[tuple[str, ...], tuple[str, ...]]

# Where each value of a v2 metric source stands in the form that the v1 annotations use.
_SPEC: dict[str, _Names] = {
    "Resource": {
        ("name",): ("name",),
        ("target", "averageUtilization"): ("targetAverageUtilization",),
        ("target", "averageValue"): ("targetAverageValue",),
    },
    "ContainerResource": {
        ("name",): ("name",),
        ("container",): ("container",),
        ("target", "averageUtilization"): ("targetAverageUtilization",),
        ("target", "averageValue"): ("targetAverageValue",),
    },
    "Pods": {
        ("metric", "name"): ("metricName",),
        ("metric", "selector"): ("selector",),
        ("target", "averageValue"): ("targetAverageValue",),
    },
    "Object": {
        ("describedObject",): ("target",),
        ("metric", "name"): ("metricName",),
        ("metric", "selector"): ("selector",),
        ("target", "value"): ("targetValue",),
        ("target", "averageValue"): ("averageValue",),
    },
    "External": {
        ("metric", "name"): ("metricName",),
        ("metric", "selector"): ("metricSelector",),
        ("target", "value"): ("targetValue",),
        ("target", "averageValue"): ("targetAverageValue",),
    },
}
_STATUS: dict[str, _Names] = {
    "Resource": {
        ("name",): ("name",),
        ("current", "averageUtilization"): ("currentAverageUtilization",),
        ("current", "averageValue"): ("currentAverageValue",),
    },
    "ContainerResource": {
        ("name",): ("name",),
        ("container",): ("container",),
        ("current", "averageUtilization"): ("currentAverageUtilization",),
        ("current", "averageValue"): ("currentAverageValue",),
    },
    "Pods": {
        ("metric", "name"): ("metricName",),
        ("metric", "selector"): ("selector",),
        ("current", "averageValue"): ("currentAverageValue",),
    },
    "Object": {
        ("describedObject",): ("target",),
        ("metric", "name"): ("metricName",),
        ("metric", "selector"): ("selector",),
        ("current", "value"): ("currentValue",),
        ("current", "averageValue"): ("averageValue",),
    },
    "External": {
        ("metric", "name"): ("metricName",),
        ("metric", "selector"): ("metricSelector",),
        ("current", "value"): ("currentValue",),
        ("current", "averageValue"): ("currentAverageValue",),
    },
}


def convert(obj: Obj, api_version: str) -> Obj:
    """The autoscaler in ``autoscaling/v1`` or ``autoscaling/v2``; a fresh object."""
    return _to_v1(obj) if api_version == "autoscaling/v1" else _to_v2(obj)


def cpu_metric(utilization: int) -> Obj:
    """The v2 metric that a CPU target stands for."""
    target = {"type": "Utilization", "averageUtilization": utilization}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _to_v1(obj: Obj) -> Obj:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    metadata = dict(obj["metadata"])
    annotations = _other_annotations(metadata)
    metrics = spec.get("metrics") or []
    others = [metric for metric in metrics if _utilization(metric, "target") is None]
    if others:
        annotations[METRICS] = _json([_renamed(metric, _SPEC) for metric in others])
    if status.get("currentMetrics"):
        current = [_renamed(metric, _STATUS) for metric in status["currentMetrics"]]
        annotations[CURRENT_METRICS] = _json(current)
    if spec.get("behavior"):
        annotations[BEHAVIOR] = _json(_annotated_behavior(spec["behavior"]))
    if status.get("conditions"):
        annotations[CONDITIONS] = _json(status["conditions"])
    _put_annotations(metadata, annotations)
    new_spec = {k: v for k, v in spec.items() if k not in ("metrics", "behavior")}
    targets = [_utilization(metric, "target") for metric in metrics]
    for target in targets:
        if target is not None:
            new_spec["targetCPUUtilizationPercentage"] = target
            break
    new_status = {k: v for k, v in status.items() if k not in ("currentMetrics", "conditions")}
    for metric in status.get("currentMetrics") or ():
        used = _utilization(metric, "current")
        if used is not None:
            new_status["currentCPUUtilizationPercentage"] = used
    new_status.setdefault("currentReplicas", 0)
    new_status.setdefault("desiredReplicas", 0)
    return _assembled(obj, "autoscaling/v1", metadata, new_spec, new_status)


def _to_v2(obj: Obj) -> Obj:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metadata = dict(obj["metadata"])
    held = metadata.get("annotations") or {}
    target = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = [] if target is None else [cpu_metric(target)]
    others = _parsed(held.get(METRICS), list)
    if others is not None:
        metrics = [_restored(metric, _SPEC) for metric in others] + metrics
    spec["metrics"] = metrics or [cpu_metric(DEFAULT_UTILIZATION)]
    behavior = _parsed(held.get(BEHAVIOR), dict)
    if behavior:
        spec["behavior"] = _cased(behavior, str.lower)
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        resource = {"name": "cpu", "current": {"averageUtilization": used}}
        status["currentMetrics"] = [{"type": "Resource", "resource": resource}]
    current = _parsed(held.get(CURRENT_METRICS), list)
    if current is not None:
        status["currentMetrics"] = [_restored(metric, _STATUS) for metric in current]
    conditions = _parsed(held.get(CONDITIONS), list)
    if conditions is not None:
        status["conditions"] = conditions
    _put_annotations(metadata, _other_annotations(metadata))
    return _assembled(obj, "autoscaling/v2", metadata, spec, status)


def _assembled(obj: Obj, api_version: str, metadata: Obj, spec: Obj, status: Obj) -> Obj:
    # Kind and version come first in every text, which lists rely on.
    converted = {"kind": obj.get("kind"), "apiVersion": api_version, **obj}
    converted |= {"apiVersion": api_version, "metadata": metadata, "spec": spec}
    if "status" in obj or status:
        converted["status"] = status
    return converted


def _other_annotations(metadata: Obj) -> dict[str, str]:
    held = metadata.get("annotations") or {}
    return {key: value for key, value in held.items() if key not in _ANNOTATIONS}


def _put_annotations(metadata: Obj, annotations: dict[str, str]) -> None:
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)


def _utilization(metric: Obj, part: str) -> int | None:
    """The CPU utilization that a metric aims at or shows, if it is the one that v1 knows."""
    resource = metric.get("resource")
    if metric.get("type") != "Resource" or not resource or resource.get("name") != "cpu":
        return None
    utilization: int | None = (resource.get(part) or {}).get("averageUtilization")
    return utilization


def _source_field(metric: Obj) -> str:
    kind: str = metric.get("type", "")
    return kind[:1].lower() + kind[1:]


def _renamed(metric: Obj, names: dict[str, _Names]) -> Obj:
    field = _source_field(metric)
    source = metric.get(field) or {}
    renamed: Obj = {}
    for here, there in names.get(metric.get("type", ""), {}).items():
        _put(renamed, there, _get(source, here))
    return {"type": metric.get("type", ""), field: renamed}


def _restored(metric: Obj, names: dict[str, _Names]) -> Obj:
    field = _source_field(metric)
    source = metric.get(field) or {}
    restored: Obj = {}
    for here, there in names.get(metric.get("type", ""), {}).items():
        _put(restored, here, _get(source, there))
    target = restored.get("target")
    if target is not None and names is _SPEC:
        target["type"] = _target_type(target)
    return {"type": metric.get("type", ""), field: restored}


def _target_type(target: Obj) -> str:
    if target.get("averageUtilization") is not None:
        return "Utilization"
    return "AverageValue" if target.get("averageValue") is not None else "Value"


def _get(obj: Obj, path: tuple[str, ...]) -> Any:
    found: Any = obj
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _put(obj: Obj, path: tuple[str, ...], value: Any) -> None:
    if value is None:
        return
    for part in path[:-1]:
        obj = obj.setdefault(part, {})
    obj[path[-1]] = value


def _cased(value: Any, case: Any) -> Any:
    """Keys with their first letter in another case, as a behavior is read from its annotation."""
    if isinstance(value, dict):
        return {case(k[:1]) + k[1:]: _cased(v, case) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_cased(item, case) for item in value]
    return value


def _annotated_behavior(behavior: Obj) -> Obj:
    """Behavior as upstream's internal type is written: every field, in the type's order."""
    rules: dict[str, Obj | None] = {}
    for direction in ("scaleUp", "scaleDown"):
        held = behavior.get(direction)
        shown = direction[:1].upper() + direction[1:]
        if held is None:
            rules[shown] = None
            continue
        policies = held.get("policies")
        rules[shown] = {
            "StabilizationWindowSeconds": held.get("stabilizationWindowSeconds"),
            "SelectPolicy": held.get("selectPolicy"),
            "Policies": None if policies is None else [_annotated_policy(p) for p in policies],
            "Tolerance": held.get("tolerance"),
        }
    return rules


def _annotated_policy(policy: Obj) -> Obj:
    names = ("type", "value", "periodSeconds")
    return {name[:1].upper() + name[1:]: policy.get(name) for name in names}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _parsed(text: str | None, kind: type) -> Any:
    """An annotation's value; None where it is absent or not what it should be."""
    if text is None:
        return None
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    items = value if isinstance(value, list) else [value]
    sound = isinstance(value, kind) and all(isinstance(item, dict) for item in items)
    return value if sound else None
