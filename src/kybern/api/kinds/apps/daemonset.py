"""DaemonSet."""

from collections.abc import Callable

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import FieldError, Obj, bad_request, invalid_value, not_supported, required
from kybern.api.kinds.columns import AGE, NAME, at, label_map, label_selector, template_columns
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.label_selectors import label_selector as selector_errors
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import (
    no_active_deadline,
    pod_template,
    restart_policy,
    selected,
)
from kybern.api.validation.workloads import (
    amount,
    at_most_all,
    counts,
    fixed_selector,
    int_or_percent,
    internal,
    selector,
)

# The template's generation is kept in this annotation for clients of the old API version.
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _default(daemon_set: Obj) -> None:
    spec = daemon_set.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        if rolling.get("maxUnavailable") is None:
            rolling["maxUnavailable"] = 1
        if rolling.get("maxSurge") is None:
            rolling["maxSurge"] = 0
        strategy["rollingUpdate"] = rolling
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    default_template(spec.setdefault("template", {}))
    _set_template_generation(daemon_set, _template_generation(daemon_set))


def _create(daemon_set: Obj) -> None:
    _set_template_generation(daemon_set, max(1, _template_generation(daemon_set)))
    daemon_set["status"] = {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }


def _update(new: Obj, old: Obj) -> None:
    generation = _template_generation(old)
    if new["spec"].get("template") != old["spec"].get("template"):
        generation += 1
    _set_template_generation(new, generation)


def _template_generation(daemon_set: Obj) -> int:
    """The annotation that stands for a field of earlier versions; raises StatusError 400."""
    text = (daemon_set["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION)
    if text is None:
        return 0
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise bad_request(
            'DaemonSet in version "v1" cannot be handled as a DaemonSet: strconv.ParseInt: '
            f'parsing "{text}": invalid syntax'
        )
    return int(text)


def _set_template_generation(daemon_set: Obj, generation: int) -> None:
    annotations = daemon_set["metadata"].get("annotations") or {}
    annotations[TEMPLATE_GENERATION] = str(generation)
    daemon_set["metadata"]["annotations"] = annotations


def _count(name: str) -> Callable[[Obj, float], int]:
    return at("status", name, default=0)


COLUMNS = (
    NAME,
    Column("Desired", _count("desiredNumberScheduled"), "integer"),
    Column("Current", _count("currentNumberScheduled"), "integer"),
    Column("Ready", _count("numberReady"), "integer"),
    Column("Up-to-date", _count("updatedNumberScheduled"), "integer"),
    Column("Available", _count("numberAvailable"), "integer"),
    Column(
        "Node Selector",
        lambda o, now: label_map(at("spec", "template", "spec", "nodeSelector")(o, now)),
    ),
    AGE,
    *template_columns(),
    Column(
        "Selector",
        lambda o, now: label_selector(at("spec", "selector", default=None)(o, now)),
        priority=1,
    ),
)


_STATUS_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)


def _check(daemon_set: Obj) -> list[FieldError]:
    spec = daemon_set.get("spec") or {}
    chosen = spec.get("selector")
    errors = [] if chosen is None else selector(chosen, "daemonset", "spec.selector")
    sound = chosen is None or not selector_errors(chosen, "spec.selector")
    template = spec.get("template") or {}
    if sound:
        errors += selected(chosen, template, "spec.template")
    errors += pod_template(template, "spec.template")
    errors += restart_policy(template, ("Always",), "spec.template")
    errors += no_active_deadline(template, "DaemonSet", "spec.template")
    errors += counts(spec, ("minReadySeconds",), "spec")
    errors += _check_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    return errors + counts(spec, ("revisionHistoryLimit",), "spec")


def _check_strategy(strategy: Obj, path: str) -> list[FieldError]:
    kind = strategy.get("type")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [not_supported(path, internal(strategy), ("RollingUpdate", "OnDelete"))]
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return [required(f"{path}.rollingUpdate")]
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    at, at_surge = f"{path}.rollingUpdate.maxUnavailable", f"{path}.rollingUpdate.maxSurge"
    errors = int_or_percent(unavailable, at) + int_or_percent(surge, at_surge)
    errors += at_most_all(unavailable, at) + at_most_all(surge, at_surge)
    if amount(unavailable) and amount(surge):
        text = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid_value(at_surge, surge, text))
    if not amount(unavailable) and not amount(surge):
        errors.append(required(at, "cannot be 0 when maxSurge is 0"))
    return errors


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    return counts(new.get("status") or {}, _STATUS_COUNTS, "status")


DAEMON_SET = Kind(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    subresources=(status_of("DaemonSet"),),
    strategy=Strategy(
        check=_check,
        check_update=fixed_selector,
        check_status=_check_status,
        warnings=lambda o: template_warnings(o["spec"].get("template") or {}),
        default=_default,
        generation=spec_changed,
        create=_create,
        update=_update,
        status=True,
    ),
    columns=COLUMNS,
)
