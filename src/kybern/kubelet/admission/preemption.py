"""Which pods end so that a critical one fits: as few as possible, the least assured first. Pure."""

from collections.abc import Mapping, Sequence

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_requests
from kybern.kubelet.admission.predicates import Shortage, units
from kybern.kubelet.pods import spec

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
DISRUPTION_MESSAGE = "Pod was preempted by Kubelet to accommodate a critical pod."

# How much of each resource is missing: CPU in thousandths, all else in whole units.
Needs = Mapping[str, int]


class NoVictims(Exception):
    """Even without all pods that may go there would be too little."""


def is_preemptable(critical: Obj, other: Obj) -> bool:
    """Whether a pod may go for the critical one."""
    if not spec.is_critical(other):
        return True
    mine, theirs = critical["spec"].get("priority"), other["spec"].get("priority")
    return mine is not None and theirs is not None and mine > theirs


def victims(critical: Obj, pods: Sequence[Obj], shortages: Sequence[Shortage]) -> list[Obj]:
    """The pods to end, with their granted resources; raises NoVictims."""
    needs = {each.resource: each.missing for each in shortages}
    able = [pod for pod in pods if is_preemptable(critical, pod)]
    best_effort, burstable, guaranteed = (
        [pod for pod in able if spec.qos_class(pod) == qos]
        for qos in ("BestEffort", "Burstable", "Guaranteed")
    )
    if left := _without(needs, able):
        raise NoVictims(_nobody(left))
    # Of each class only what all less assured ones together do not give.
    last = _closest(guaranteed, _without(needs, best_effort + burstable))
    middle = _closest(burstable, _without(needs, best_effort + last))
    first = _closest(best_effort, _without(needs, middle + last))
    return first + middle + last


def _closest(pods: Sequence[Obj], needs: Needs) -> list[Obj]:
    """Pods that together give what is needed, each time the one that leaves the least to be had."""
    left, chosen = list(pods), []
    while needs:
        if not left:
            raise NoVictims(_nobody(needs))
        best = min(left, key=lambda pod: (_distance(pod, needs), *_size(pod)))
        needs = _without(needs, [best])
        left.remove(best)
        chosen.append(best)
    return chosen


def _distance(pod: Obj, needs: Needs) -> float:
    """How much of the needs the pod leaves open, each resource counting alike."""
    open_parts = (max(0, need - _request(pod, resource)) / need for resource, need in needs.items())
    return sum(part**2 for part in open_parts)


def _size(pod: Obj) -> tuple[int, int]:
    return _request(pod, "memory"), _request(pod, "cpu")


def _request(pod: Obj, resource: str) -> int:
    if resource == "pods":
        return 1
    amount = pod_requests(pod).get(resource)
    return 0 if amount is None else units(resource, amount)


def _without(needs: Needs, pods: Sequence[Obj]) -> Needs:
    """What would still be missing without these pods."""
    left = {
        resource: need - sum(_request(pod, resource) for pod in pods)
        for resource, need in needs.items()
    }
    return {resource: need for resource, need in left.items() if need > 0}


def _nobody(needs: Needs) -> str:
    shown = "".join(f"(res: {resource}, q: {need}), " for resource, need in needs.items())
    return (
        "preemption: error finding a set of pods to preempt: "
        f"no set of running pods found to reclaim resources: [{shown}]"
    )
