"""ReplicaSet."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import FieldError, Obj
from kybern.api.kinds.columns import AGE, NAME, at, label_selector, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import (
    no_active_deadline,
    restart_policy,
    workload_template,
)
from kybern.api.validation.workloads import counts, fixed_selector, replica_status, selector


def _default(replica_set: Obj) -> None:
    spec = replica_set.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    default_template(spec.setdefault("template", {}))


def _create(replica_set: Obj) -> None:
    replica_set["status"] = {"replicas": 0}


COLUMNS = (
    NAME,
    Column("Desired", at("spec", "replicas", default=0), "integer"),
    Column("Current", at("status", "replicas", default=0), "integer"),
    Column("Ready", at("status", "readyReplicas", default=0), "integer"),
    AGE,
    *template_columns(),
    Column(
        "Selector",
        lambda o, now: label_selector(at("spec", "selector", default=None)(o, now)),
        priority=1,
    ),
)


_STATUS_PARTS = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def _check(replica_set: Obj) -> list[FieldError]:
    spec = replica_set.get("spec") or {}
    errors = counts(spec, ("replicas", "minReadySeconds"), "spec")
    errors += selector(spec.get("selector"), "deployment", "spec.selector")
    template = spec.get("template") or {}
    errors += workload_template(template, spec.get("selector"), "spec.template")
    errors += restart_policy(template, ("Always",), "spec.template")
    return errors + no_active_deadline(template, "ReplicaSet", "spec.template")


REPLICA_SET = Kind(
    group="apps",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("ReplicaSet"),
    ),
    strategy=Strategy(
        check=_check,
        check_update=fixed_selector,
        check_status=lambda new, old: replica_status(new, old, _STATUS_PARTS),
        warnings=lambda o: template_warnings(o["spec"].get("template") or {}),
        default=_default,
        create=_create,
        status=True,
        generation=spec_changed,
    ),
    columns=COLUMNS,
)
