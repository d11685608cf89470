"""DaemonSet."""

from collections.abc import Callable

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, label_map, label_selector, template_columns
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

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
    text = (daemon_set["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


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


DAEMON_SET = Kind(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    subresources=(status_of("DaemonSet"),),
    strategy=Strategy(
        default=_default, generation=spec_changed, create=_create, update=_update, status=True
    ),
    columns=COLUMNS,
)
