"""StatefulSet."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.defaults.volumes import default_claim_spec
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed


def _default(stateful_set: Obj) -> None:
    spec = stateful_set.setdefault("spec", {})
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        if strategy.get("rollingUpdate") is None:
            strategy["rollingUpdate"] = {}
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "RollingUpdate" and rolling is not None:
        if rolling.get("partition") is None:
            rolling["partition"] = 0
        if rolling.get("maxUnavailable") is None:
            rolling["maxUnavailable"] = 1
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        if not retention.get(name):
            retention[name] = "Retain"
    spec["persistentVolumeClaimRetentionPolicy"] = retention
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    default_template(spec.setdefault("template", {}))
    for claim in spec.get("volumeClaimTemplates") or ():
        _default_claim_template(claim)


def _default_claim_template(claim: Obj) -> None:
    claim.setdefault("apiVersion", "v1")
    claim.setdefault("kind", "PersistentVolumeClaim")
    default_claim_spec(claim.setdefault("spec", {}))
    status = claim.get("status") or {}
    if not status.get("phase"):
        status["phase"] = "Pending"
    claim["status"] = status


def _create(stateful_set: Obj) -> None:
    stateful_set["status"] = {"replicas": 0, "availableReplicas": 0}


def _ready(stateful_set: Obj, now: float) -> str:
    ready = at("status", "readyReplicas", default=0)(stateful_set, now)
    return f"{ready}/{at('spec', 'replicas', default=0)(stateful_set, now)}"


COLUMNS = (NAME, Column("Ready", _ready), AGE, *template_columns())


STATEFUL_SET = Kind(
    group="apps",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    subresources=(
        SCALE,
        status_of("StatefulSet"),
    ),
    strategy=Strategy(default=_default, create=_create, status=True, generation=spec_changed),
    columns=COLUMNS,
)
