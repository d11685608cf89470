"""Pod: what the server fills in, what an update may touch, how it is deleted."""

from kybern.api.defaults.pod_spec import default_pod
from kybern.api.errors import Obj
from kybern.api.kinds.columns import field
from kybern.api.kinds.core.pod_columns import POD_COLUMNS
from kybern.api.kinds.core.pod_qos import qos_class
from kybern.api.kinds.core.pod_subresources import POD_WRITES
from kybern.api.kinds.core.pod_warnings import pod_warnings
from kybern.api.kinds.kind import (
    CONNECT,
    CREATE_ONLY,
    PROXY,
    READ_WRITE,
    Kind,
    Subresource,
    status_of,
)
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.pod import check_pod, check_pod_status, check_pod_update

GATED = "Scheduling is blocked due to non-empty scheduling gates"


def _create(pod: Obj) -> None:
    """A pod begins Pending; gates keep it from the scheduler until they are removed."""
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod)}
    if pod["spec"].get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastTransitionTime": pod["metadata"].get("creationTimestamp"),
                "reason": "SchedulingGated",
                "message": GATED,
            }
        ]
    _apply_match_label_keys(pod)


def _apply_match_label_keys(pod: Obj) -> None:
    """``matchLabelKeys`` become terms of the selectors they belong to, with the pod's values."""
    labels = pod["metadata"].get("labels") or {}
    affinity = pod["spec"].get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        for term in terms:
            _add_terms(term, term.get("matchLabelKeys"), "In", labels)
            _add_terms(term, term.get("mismatchLabelKeys"), "NotIn", labels)
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        _add_terms(constraint, constraint.get("matchLabelKeys"), "In", labels)


def _add_terms(holder: Obj, keys: list[str] | None, operator: str, labels: Obj) -> None:
    selector = holder.get("labelSelector")
    if not keys or selector is None:
        return
    for key in keys:
        if key in labels:
            term = {"key": key, "operator": operator, "values": [labels[key]]}
            selector.setdefault("matchExpressions", []).append(term)


def _update_status(new: Obj, old: Obj) -> None:
    """The QoS class is fixed, and owners change with the pod itself only."""
    if "ownerReferences" in old["metadata"]:
        new["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"]
    else:
        new["metadata"].pop("ownerReferences", None)
    before = old.get("status") or {}
    status = new.setdefault("status", {})
    for name in ("qosClass", "observedGeneration"):
        if not status.get(name) and before.get(name):
            status[name] = before[name]
    _same_addresses(status)
    _keep_observed_generations(status.get("conditions"), before.get("conditions"))


def _same_addresses(status: Obj) -> None:
    """``podIP`` is the first of ``podIPs``; the older field wins where they differ."""
    one, many = status.get("podIP"), status.get("podIPs")
    if one and (not many or many[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif many and not one:
        status["podIP"] = many[0].get("ip", "")


def _keep_observed_generations(new: list[Obj] | None, old: list[Obj] | None) -> None:
    held = {c.get("type"): c.get("observedGeneration") for c in reversed(old or [])}
    for condition in new or ():
        if not condition.get("observedGeneration") and held.get(condition.get("type")):
            condition["observedGeneration"] = held[condition["type"]]


def _grace_period(pod: Obj, wanted: int | None) -> int:
    """Seconds between the request to delete a pod and its end; 0 if nothing runs."""
    period = wanted
    if period is None:
        period = pod["spec"].get("terminationGracePeriodSeconds") or 0
    if not pod["spec"].get("nodeName"):
        return 0
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    return 1 if period < 0 else period


def _pod_ip(pod: Obj) -> str:
    addresses = (pod.get("status") or {}).get("podIPs") or ()
    return addresses[0].get("ip", "") if addresses else field("status", "podIP")(pod)


_SELECTABLE = {
    "spec.nodeName": field("spec", "nodeName"),
    "spec.restartPolicy": field("spec", "restartPolicy"),
    "spec.schedulerName": field("spec", "schedulerName"),
    "spec.serviceAccountName": field("spec", "serviceAccountName"),
    "spec.hostNetwork": field("spec", "hostNetwork", default="false"),
    "status.phase": field("status", "phase"),
    "status.podIP": _pod_ip,
    # A name that upstream takes, though nothing has a value for it.
    "status.podIPs": lambda pod: "",
    "status.nominatedNodeName": field("status", "nominatedNodeName"),
}


POD = Kind(
    group="",
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", "PodAttachOptions", CONNECT),
        Subresource("binding", "Binding", CREATE_ONLY),
        Subresource("ephemeralcontainers", "Pod", READ_WRITE),
        Subresource("eviction", "Eviction", CREATE_ONLY, "policy", "v1"),
        Subresource("exec", "PodExecOptions", CONNECT),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", CONNECT),
        Subresource("proxy", "PodProxyOptions", PROXY),
        Subresource("resize", "Pod", READ_WRITE),
        status_of("Pod"),
    ),
    selectable_fields=_SELECTABLE,
    field_aliases={"v1": {**{name: name for name in _SELECTABLE}, "spec.host": "spec.nodeName"}},
    columns=POD_COLUMNS,
    strategy=Strategy(
        default=default_pod,
        status=True,
        generation=spec_changed,
        create=_create,
        check=check_pod,
        check_update=check_pod_update,
        update_status=_update_status,
        check_status=check_pod_status,
        warnings=pod_warnings,
        update_warnings=lambda new, old: [],
        checks_on_update=0,
        grace_period=_grace_period,
        writes=POD_WRITES,
    ),
)
