"""ReplicaSet."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, field, label_selector, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed


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
    strategy=Strategy(default=_default, create=_create, status=True, generation=spec_changed),
    columns=COLUMNS,
    selectable_fields={"status.replicas": field("status", "replicas", default="0")},
)
