"""Validation of autoscalers, in the v2 form that is stored."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.quantity import Quantity
from kybern.api.validation.fields import dns_label, named
from kybern.api.validation.names import is_path_segment

_SOURCES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGETS = ("Utilization", "Value", "AverageValue")
_SELECT = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_MAX_WINDOW = 3600
_MAX_PERIOD = 1800


def check_autoscaler(autoscaler: Obj) -> list[FieldError]:
    spec = autoscaler.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    errors: list[FieldError] = []
    if least is not None and least < 1:
        text = "must be greater than or equal to 1"
        errors.append(invalid_value("spec.minReplicas", least, text))
    if most == 0:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        text = "must be greater than or equal to 1"
        errors.append(invalid_value("spec.maxReplicas", most, text))
    if least is not None and most < least:
        text = "must be greater than or equal to `minReplicas`"
        errors.append(invalid_value("spec.maxReplicas", most, text))
    errors += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", needs_group=True)
    metrics = spec.get("metrics") or []
    for i, metric in enumerate(metrics):
        errors += _metric(metric, f"spec.metrics[{i}]")
    if least == 0 and not any(m.get("type") in ("Object", "External") for m in metrics):
        text = "must specify at least one Object or External metric to support scaling to zero "
        errors.append(field_forbidden("spec.metrics", text + "replicas"))
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        if behavior.get(name) is not None:
            errors += _rules(behavior[name], f"spec.behavior.{name}")
    return errors


def _reference(reference: Obj, path: str, *, needs_group: bool = False) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("kind", "name"):
        value, at = reference.get(field, ""), f"{path}.{field}"
        errors += named(is_path_segment(value), value, at) if value else [required(at)]
    version = reference.get("apiVersion", "")
    text = ""
    if version.count("/") > 1:
        text = f"unexpected GroupVersion string: {version}"
    elif needs_group and "/" not in version:
        text = "apiVersion must specify API group"
    if text:
        errors.append(invalid_value(f"{path}.apiVersion", version, text))
    return errors


def _metric(metric: Obj, path: str) -> list[FieldError]:
    kind = metric.get("type", "")
    errors: list[FieldError] = []
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        errors.append(not_supported(f"{path}.type", kind, _SOURCES))
    fields = ("object", "external", "pods", "resource", "containerResource")
    given = [field for field in fields if metric.get(field) is not None]
    if given:
        errors += _source(given[0], metric[given[0]], f"{path}.{given[0]}")
    expected = kind[:1].lower() + kind[1:]
    if kind not in _SOURCES:
        errors.append(not_supported(f"{path}.type", kind, _SOURCES))
    elif expected not in given:
        text = "must populate information for the given metric source"
        errors.append(required(f"{path}.{expected}", text))
    if len(given) > 1 or (given and expected not in given and len(given) != 1):
        text = "must populate the given metric source only"
        errors += [field_forbidden(f"{path}.{f}", text) for f in given if f != expected]
    return errors


def _source(kind: str, source: Obj, path: str) -> list[FieldError]:
    target = source.get("target") or {}
    errors: list[FieldError] = []
    if kind == "object":
        errors += _reference(source.get("describedObject") or {}, f"{path}.describedObject")
    if kind in ("object", "external", "pods"):
        name, at = (source.get("metric") or {}).get("name", ""), f"{path}.metric.name"
        text = "must specify a metric name"
        errors += named(is_path_segment(name), name, at) if name else [required(at, text)]
    elif not source.get("name"):
        errors.append(required(f"{path}.name", "must specify a resource name"))
    if kind == "containerResource":
        container, at = source.get("container", ""), f"{path}.container"
        missing = required(at, "must specify a container")
        errors += dns_label(container, at) if container else [missing]
    return errors + _target(target, f"{path}.target") + _target_values(kind, target, path)


def _target(target: Obj, path: str) -> list[FieldError]:
    kind = target.get("type", "")
    errors: list[FieldError] = []
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        text = "must be either Utilization, Value, or AverageValue"
        errors.append(invalid_value(f"{path}.type", kind, text))
    for field in ("value", "averageValue"):
        value = target.get(field)
        if value is not None and Quantity.parse(value).nano <= 0:
            shown = Quantity.parse(value).canonical()
            errors.append(invalid_value(f"{path}.{field}", shown, "must be positive"))
    used = target.get("averageUtilization")
    if used is not None and used < 1:
        text = "must be greater than 0"
        errors.append(invalid_value(f"{path}.averageUtilization", used, text))
    return errors


def _target_values(kind: str, target: Obj, path: str) -> list[FieldError]:
    value, average = target.get("value"), target.get("averageValue")
    used = target.get("averageUtilization")
    at = f"{path}.target"
    if kind in ("object", "external"):
        if value is None and average is None:
            text = "must set either a target value or averageValue"
            if kind == "external":
                text = "must set either a target value for metric or a per-pod target"
            return [required(f"{at}.averageValue", text)]
        if kind == "external" and value is not None and average is not None:
            text = "may not set both a target value for metric and a per-pod target"
            return [field_forbidden(f"{at}.value", text)]
    elif kind == "pods":
        if average is None:
            text = "must specify a positive target averageValue"
            return [required(f"{at}.averageValue", text)]
    elif used is None and average is None:
        text = "must set either a target raw value or a target utilization"
        return [required(f"{at}.averageUtilization", text)]
    elif used is not None and average is not None:
        text = "may not set both a target raw value and a target utilization"
        return [field_forbidden(f"{at}.averageValue", text)]
    return []


def _rules(rules: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    window, at = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.append(invalid_value(at, window, "must be greater than or equal to zero"))
    if window is not None and window > _MAX_WINDOW:
        errors.append(invalid_value(at, window, f"must be less than or equal to {_MAX_WINDOW}"))
    select = rules.get("selectPolicy")
    if select is not None and select not in _SELECT:
        errors.append(not_supported(f"{path}.selectPolicy", select, _SELECT))
    policies = rules.get("policies") or []
    if not policies:
        errors.append(required(f"{path}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(policies):
        errors += _policy(policy, f"{path}.policies[{i}]")
    return errors


def _policy(policy: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if policy.get("type") not in _POLICIES:
        errors.append(not_supported(f"{path}.type", policy.get("type", ""), _POLICIES))
    for field in ("value", "periodSeconds"):
        if policy.get(field, 0) <= 0:
            text = "must be greater than zero"
            errors.append(invalid_value(f"{path}.{field}", policy.get(field, 0), text))
    if policy.get("periodSeconds", 0) > _MAX_PERIOD:
        text = f"must be less than or equal to {_MAX_PERIOD}"
        errors.append(invalid_value(f"{path}.periodSeconds", policy["periodSeconds"], text))
    return errors
