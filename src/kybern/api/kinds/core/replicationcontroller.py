"""ReplicationController, the forerunner of ReplicaSet."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, field, label_map, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed


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
        default=_default,
        create=lambda o: o.__setitem__("status", {"replicas": 0}),
        status=True,
        generation=spec_changed,
        default_propagation="Orphan",
    ),
    columns=COLUMNS,
    selectable_fields={"status.replicas": field("status", "replicas", default="0")},
)
