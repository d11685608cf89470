"""ReplicationController, the forerunner of ReplicaSet."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.kinds.columns import AGE, NAME, at, field, label_map, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.names import long_name
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import (
    no_active_deadline,
    pod_template,
    restart_policy,
)
from kybern.api.validation.workloads import counts, replica_status


def _default(controller: Obj) -> None:
    """Selector and labels come from the template where they are not given."""
    spec = controller.setdefault("spec", {})
    template = spec.get("template")
    labels = (template.get("metadata") or {}).get("labels") if template else None
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not controller["metadata"].get("labels"):
            controller["metadata"]["labels"] = dict(labels)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    if template is not None:
        default_template(template)


COLUMNS = (
    NAME,
    Column("Desired", at("spec", "replicas", default=0), "integer"),
    Column("Current", at("status", "replicas", default=0), "integer"),
    Column("Ready", at("status", "readyReplicas", default=0), "integer"),
    AGE,
    *template_columns(),
    Column("Selector", lambda o, now: label_map(at("spec", "selector")(o, now)), priority=1),
)


_STATUS_PARTS = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def _check(controller: Obj) -> list[FieldError]:
    spec = controller.get("spec") or {}
    errors = counts(spec, ("minReadySeconds",), "spec")
    selector, template = spec.get("selector"), spec.get("template")
    if not selector:
        errors.append(required("spec.selector"))
    if spec.get("replicas") is None:
        errors.append(required("spec.replicas"))
    errors += counts(spec, ("replicas",), "spec")
    if template is None:
        return [*errors, required("spec.template")]
    held = (template.get("metadata") or {}).get("labels") or {}
    if selector and any(held.get(key) != value for key, value in selector.items()):
        text = "`selector` does not match template `labels`"
        errors.append(invalid_value("spec.template.metadata.labels", held or None, text))
    errors += pod_template(template, "spec.template")
    errors += restart_policy(template, ("Always",), "spec.template")
    return errors + no_active_deadline(template, "ReplicationController", "spec.template")


REPLICATION_CONTROLLER = Kind(
    group="",
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("ReplicationController"),
    ),
    resource_prefix="/registry/controllers",
    strategy=Strategy(
        check=_check,
        check_status=lambda new, old: replica_status(new, old, _STATUS_PARTS),
        warnings=lambda o: template_warnings(o["spec"].get("template") or {}),
        default=_default,
        create=lambda o: o.__setitem__("status", {"replicas": 0}),
        name_rule=long_name,
        status=True,
        generation=spec_changed,
        default_propagation="Orphan",
    ),
    columns=COLUMNS,
    selectable_fields={"status.replicas": field("status", "replicas", default="0")},
)
