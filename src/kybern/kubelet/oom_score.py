"""How soon the kernel's OOM killer takes a container: the more it requested, the safer. Pure."""

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_requests
from kybern.api.quantity import Quantity
from kybern.kubelet.pods import spec

BEST_EFFORT = 1000
GUARANTEED = -997
_NODE_CRITICAL = "system-node-critical"
_NOTHING = Quantity.parse("0")


def oom_score(pod: Obj, container: Obj, memory_capacity: int) -> int:
    """The container's ``oom_score_adj``, by upstream's rule.

    What the pod requests above its containers is shared among them. A sidecar is as safe as the
    regular container that requested least, because those need it.
    """
    if spec.is_critical(pod) and pod["spec"].get("priorityClassName") == _NODE_CRITICAL:
        return GUARANTEED
    qos = spec.qos_class(pod)
    if qos != "Burstable":
        return GUARANTEED if qos == "Guaranteed" else BEST_EFFORT
    requested = _request(container)
    if spec.is_sidecar(container) and container in spec.init_containers(pod):
        requested = max(requested, min(map(_request, spec.containers(pod)), default=0))
    requested += _unassigned(pod)
    score = BEST_EFFORT - BEST_EFFORT * requested // max(memory_capacity, 1)
    # Between the two other classes, whatever was requested.
    return min(max(score, BEST_EFFORT + GUARANTEED), BEST_EFFORT - 1)


def _request(container: Obj) -> int:
    return spec.resource_value(container, "requests", "memory")


def _unassigned(pod: Obj) -> int:
    """Each container's share of the memory that only the pod as a whole requests."""
    declared = pod["spec"].get("resources") or {}
    whole = spec.resource_value({"resources": declared}, "requests", "memory")
    if not whole:
        return 0
    parts = {name: value for name, value in pod["spec"].items() if name != "resources"}
    asked = pod_requests({**pod, "spec": parts}, overhead=False).get("memory", _NOTHING)
    return (whole - asked.value()) // len([*spec.containers(pod), *spec.init_containers(pod)])
