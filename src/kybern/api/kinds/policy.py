"""PodDisruptionBudget."""

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.names import is_path_segment
from kybern.api.validation.workloads import at_most_all, counts, int_or_percent


def _create(budget: Obj) -> None:
    budget["status"] = {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    }


COLUMNS = (
    NAME,
    Column("Min Available", lambda o, now: str(at("spec", "minAvailable", default="N/A")(o, now))),
    Column(
        "Max Unavailable", lambda o, now: str(at("spec", "maxUnavailable", default="N/A")(o, now))
    ),
    Column("Allowed Disruptions", at("status", "disruptionsAllowed", default=0), "integer"),
    AGE,
)


_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def _check(budget: Obj) -> list[FieldError]:
    spec = budget.get("spec") or {}
    errors: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        shown = {
            "MinAvailable": spec["minAvailable"],
            "Selector": spec.get("selector"),
            "MaxUnavailable": spec["maxUnavailable"],
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        errors.append(invalid_value("spec", shown, text))
    for name in ("minAvailable", "maxUnavailable"):
        errors += int_or_percent(spec.get(name), f"spec.{name}")
        errors += at_most_all(spec.get(name), f"spec.{name}")
    errors += label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _EVICTION_POLICIES:
        at = "spec.unhealthyPodEvictionPolicy"
        errors.append(not_supported(at, policy, _EVICTION_POLICIES))
    return errors


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    return counts(new.get("status") or {}, names, "status")


POD_DISRUPTION_BUDGET = Kind(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    subresources=(status_of("PodDisruptionBudget"),),
    strategy=Strategy(
        any_finalizer=True,
        metadata_checks=0,
        status_metadata_checks=0,
        name_rule=is_path_segment,
        check=_check,
        check_status=_check_status,
        create=_create,
        status=True,
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=COLUMNS,
)
