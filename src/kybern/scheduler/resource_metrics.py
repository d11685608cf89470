"""``/metrics/resources``: what each pod of the cluster requests and is limited to."""

from collections.abc import Iterable

from kybern.api.errors import Obj
from kybern.api.pod_resources import Amounts, pod_limits, pod_requests
from kybern.component.metric_families import Family
from kybern.scheduler.configuration import DEFAULT_SCHEDULER

_LABELS = ("namespace", "pod", "node", "scheduler", "priority", "resource", "unit")
_UNITS = {"cpu": "cores", "memory": "bytes", "storage": "bytes", "ephemeral-storage": "bytes"}


def resource_lines(pods: Iterable[Obj]) -> bytes:
    """The metrics of pods that have not ended."""
    limits = Family("kube_pod_resource_limit", "gauge", "Limits of pods.", *_LABELS)
    requests = Family("kube_pod_resource_request", "gauge", "Requests of pods.", *_LABELS)
    for pod in pods:
        _note(limits, pod, pod_limits(pod))
        _note(requests, pod, pod_requests(pod))
    return "\n".join((*limits.lines(), *requests.lines(), "")).encode()


def _note(family: Family, pod: Obj, amounts: Amounts) -> None:
    meta, spec = pod["metadata"], pod["spec"]
    priority = spec.get("priority")
    about = (
        meta["namespace"],
        meta["name"],
        spec.get("nodeName") or "",
        spec.get("schedulerName") or DEFAULT_SCHEDULER,
        "" if priority is None else str(priority),
    )
    for resource, amount in amounts.items():
        if amount:
            family.values[(*about, resource, _unit(resource))] = amount.nano / 10**9


def _unit(resource: str) -> str:
    if resource.startswith("hugepages-"):
        return "bytes"
    return "integer" if resource.startswith("attachable-volumes-") else _UNITS.get(resource, "")
