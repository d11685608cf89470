"""What a pod and its containers hold, as the status reports it. Pure.

The granted resources, with the CPU and memory that the kernel really holds in their place: while a
resize is under way both differ. Numbers that stand for the same bounds are shown as they were
granted, because shares and pages round.
"""

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_limits, pod_requests
from kybern.api.quantity import BINARY_SI, Quantity
from kybern.kubelet.bounds import Bounds, Limits, container_bounds, is_pinned, pod_bounds


def held_by_container(pod: Obj, container: Obj, bounds: Bounds | None) -> Obj | None:
    """A container's ``resources``; None if it asks for none."""
    granted = container.get("resources")
    if granted is None or bounds is None:
        return granted
    wanted = container_bounds(pod, container)
    held = dict(granted)
    if "limits" in granted:
        held["limits"] = {**granted["limits"], **_limits(wanted, bounds)}
    if "requests" in granted:
        held["requests"] = {**granted["requests"], **_requests(wanted, bounds)}
    return held


def held_by_pod(pod: Obj, bounds: Bounds | None) -> Obj:
    """The pod's own ``resources``: declared ones, else the sum of its containers'."""
    requests = {name: str(amount) for name, amount in pod_requests(pod).items()}
    limits = {name: str(amount) for name, amount in pod_limits(pod).items()}
    if bounds is not None:
        wanted = pod_bounds(pod)
        requests.update(_requests(wanted, bounds))
        bounded = {"cpu": bounds.quota, "memory": bounds.memory}
        if is_pinned(pod):
            # Whole CPUs of its own are the limit, without a quota.
            del bounded["cpu"]
        limits = {name: text for name, text in limits.items() if bounded.get(name, 1) is not None}
        limits.update(_limits(wanted, bounds))
    held = {"limits": limits, "requests": requests}
    return {side: amounts for side, amounts in held.items() if amounts}


def _limits(wanted: Limits, bounds: Bounds) -> Obj:
    """The limits in force that are not the granted ones."""
    found = {}
    if bounds.milli_cpu_limit is not None and not bounds.hold_quota(wanted.quota):
        found["cpu"] = str(Quantity.parse(f"{bounds.milli_cpu_limit}m"))
    if bounds.memory is not None and not bounds.hold_memory(wanted.memory):
        found["memory"] = str(Quantity(bounds.memory * 10**9, BINARY_SI))
    return found


def _requests(wanted: Limits, bounds: Bounds) -> Obj:
    """The CPU request in force if it is not the granted one; memory requests leave no trace."""
    if bounds.hold_shares(wanted.shares):
        return {}
    return {"cpu": str(Quantity.parse(f"{bounds.milli_cpu_request}m"))}
