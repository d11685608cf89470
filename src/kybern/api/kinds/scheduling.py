"""PriorityClass."""

from kybern.api.errors import FieldError, Obj, field_forbidden
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.fields import one_of
from kybern.api.validation.metadata import immutable
from kybern.api.validation.pod_spec import PREEMPTION_POLICIES


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


HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_CLASSES = {
    "system-node-critical": 2_000_001_000,
    "system-cluster-critical": 2_000_000_000,
}
_SYSTEM_PREFIX = "system-"


def _check(priority_class: Obj) -> list[FieldError]:
    name, value = priority_class["metadata"].get("name", ""), priority_class.get("value", 0)
    errors: list[FieldError] = []
    if name.startswith(_SYSTEM_PREFIX):
        problem = _system_problem(name, value, bool(priority_class.get("globalDefault")))
        if problem:
            text = "priority class names with 'system-' prefix are reserved for system use only. "
            errors.append(field_forbidden("metadata.name", f"{text}error: {problem}"))
    elif value > HIGHEST_USER_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        errors.append(field_forbidden("value", text))
    policy = priority_class.get("preemptionPolicy")
    if policy is not None:
        errors += one_of(policy, PREEMPTION_POLICIES, "preemptionPolicy")
    return errors


def _system_problem(name: str, value: int, is_default: bool) -> str:
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    if new.get("value", 0) != old.get("value", 0):
        errors.append(field_forbidden("value", "may not be changed in an update."))
    after, before = new.get("preemptionPolicy"), old.get("preemptionPolicy")
    return errors + immutable(after, before, "preemptionPolicy")


PRIORITY_CLASS = Kind(
    group="scheduling.k8s.io",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    short_names=("pc",),
    strategy=Strategy(
        check=_check,
        checks_on_update=0,
        check_update=_check_update,
        default=_default,
        generation=_unchanged,
        namespaced=False,
    ),
    columns=COLUMNS,
)
