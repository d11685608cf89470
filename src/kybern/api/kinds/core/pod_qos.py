"""The quality-of-service class of a pod, from its containers' requests and limits."""

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity

_COMPUTE = ("cpu", "memory")


def qos_class(pod: Obj) -> str:
    """Guaranteed, Burstable or BestEffort."""
    spec = pod["spec"]
    if spec.get("resources"):
        return _class_of([spec["resources"]])
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return _class_of([container.get("resources") or {} for container in containers])


def _class_of(resources: list[Obj]) -> str:
    any_set = False
    guaranteed = True
    for held in resources:
        requests = _positive(held.get("requests"))
        limits = _positive(held.get("limits"))
        any_set = any_set or bool(requests or limits)
        if len(limits) != len(_COMPUTE) or (requests and requests != limits):
            guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(resources: Obj | None) -> dict[str, Quantity]:
    if not resources:
        return {}
    amounts = {name: Quantity.parse(resources[name]) for name in _COMPUTE if name in resources}
    return {name: amount for name, amount in amounts.items() if amount.nano > 0}
