"""StatefulSet."""

from kybern.api.defaults.pod_spec import default_template
from kybern.api.defaults.volumes import default_claim_spec
from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.columns import AGE, NAME, at, template_columns
from kybern.api.kinds.kind import SCALE, Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.claims import claim_spec
from kybern.api.validation.fields import dns_label as service_name
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.metadata import labels
from kybern.api.validation.names import dns_label
from kybern.api.validation.pod_spec_warnings import template_warnings
from kybern.api.validation.pod_template import (
    no_active_deadline,
    restart_policy,
    workload_template,
)
from kybern.api.validation.workloads import (
    amount,
    at_most_all,
    counts,
    int_or_percent,
    internal,
    replica_status,
    selector,
)


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
    rolls = strategy["type"] == "RollingUpdate" and rolling is not None
    if rolls and rolling.get("partition") is None:
        rolling["partition"] = 0
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
    claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
    default_claim_spec(claim.setdefault("spec", {}))
    status = claim.get("status") or {}
    if not status.get("phase"):
        status["phase"] = "Pending"
    claim["status"] = status


def _create(stateful_set: Obj) -> None:
    stateful_set["status"] = {"replicas": 0, "availableReplicas": 0}
    _drop_max_unavailable(stateful_set["spec"])


def _update(new: Obj, old: Obj) -> None:
    if "maxUnavailable" not in (old["spec"].get("updateStrategy") or {}).get("rollingUpdate", {}):
        _drop_max_unavailable(new["spec"])


def _drop_max_unavailable(spec: Obj) -> None:
    """``maxUnavailable`` is behind upstream's gate MaxUnavailableStatefulSet, off by default."""
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate")
    if rolling:
        rolling.pop("maxUnavailable", None)


def _ready(stateful_set: Obj, now: float) -> str:
    ready = at("status", "readyReplicas", default=0)(stateful_set, now)
    return f"{ready}/{at('spec', 'replicas', default=0)(stateful_set, now)}"


COLUMNS = (NAME, Column("Ready", _ready), AGE, *template_columns())


_STATUS_PARTS = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
_CHANGEABLE = (
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
)
_FROZEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


def _check(stateful_set: Obj) -> list[FieldError]:
    """What is checked of new objects and of changed ones."""
    spec = stateful_set.get("spec") or {}
    errors = _check_policies(spec)
    errors += counts(spec, ("replicas", "minReadySeconds"), "spec")
    if spec.get("ordinals") is not None:
        errors += counts(spec["ordinals"], ("start",), "spec.ordinals")
    errors += selector(spec.get("selector"), "statefulset", "spec.selector")
    template = spec.get("template") or {}
    whole = _with_claims_as_volumes(template, spec.get("volumeClaimTemplates") or ())
    errors += workload_template(whole, spec.get("selector"), "spec.template", "")
    labels_of_pods = (template.get("metadata") or {}).get("labels") or {}
    if not label_selector(spec.get("selector"), "spec.selector"):
        errors += labels(labels_of_pods, "spec.template.labels")
    errors += restart_policy(template, ("Always",), "spec.template")
    return errors + no_active_deadline(template, "StatefulSet", "spec.template")


def _check_policies(spec: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    management = spec.get("podManagementPolicy")
    if not management:
        errors.append(required("spec.podManagementPolicy"))
    elif management not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        errors.append(invalid_value("spec.podManagementPolicy", management, text))
    errors += _check_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name, value in retention.items():
        if value not in ("Retain", "Delete"):
            at = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            errors.append(not_supported(at, value, ("Retain", "Delete")))
    return errors


def _check_strategy(strategy: Obj, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if rolling is None:
            return []
        text = "only allowed for updateStrategy 'RollingUpdate'"
        return [invalid_value(f"{path}.rollingUpdate", internal(strategy)["RollingUpdate"], text)]
    if kind != "RollingUpdate":
        return [invalid_value(path, internal(strategy), "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    errors = counts(rolling, ("partition",), f"{path}.rollingUpdate")
    unavailable = rolling.get("maxUnavailable")
    if unavailable is not None:
        at = f"{path}.rollingUpdate.maxUnavailable"
        errors += int_or_percent(unavailable, at)
        if amount(unavailable) == 0:
            errors.append(invalid_value(at, unavailable, "cannot be 0"))
        errors += at_most_all(unavailable, at)
    return errors


def _with_claims_as_volumes(template: Obj, claims: "list[Obj] | tuple[()]") -> Obj:
    """Containers may mount the set's claims, which become volumes of its pods."""
    spec = {k: v for k, v in (template.get("spec") or {}).items() if k not in _SET_BY_SET}
    if claims:
        names = list({(claim.get("metadata") or {}).get("name", ""): None for claim in claims})
        added = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in names]
        held = [v for v in spec.get("volumes") or () if v.get("name") not in names]
        spec["volumes"] = added + held
    return {**template, "spec": spec}


_SET_BY_SET = frozenset({"hostname", "subdomain"})


def _check_new(stateful_set: Obj) -> list[FieldError]:
    spec = stateful_set.get("spec") or {}
    errors: list[FieldError] = []
    for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        errors += claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{i}].spec")
    if spec.get("serviceName"):
        errors += service_name(spec["serviceName"], "spec.serviceName")
    return errors + _check(stateful_set)


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    errors = _check(new)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    names = {*after, *before} - set(_CHANGEABLE)
    if any(after.get(name) != before.get(name) for name in names):
        errors.append(field_forbidden("spec", _FROZEN))
    return errors


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
    strategy=Strategy(
        check=_check_new,
        checks_on_update=0,
        check_update=_check_update,
        name_rule=dns_label,
        check_status=lambda new, old: replica_status(new, old, _STATUS_PARTS),
        warnings=lambda o: template_warnings(o["spec"].get("template") or {}),
        default=_default,
        create=_create,
        update=_update,
        status=True,
        generation=spec_changed,
    ),
    columns=COLUMNS,
)
