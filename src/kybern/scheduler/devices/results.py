"""An allocation as the API stores it: devices, their configuration, the nodes that reach them."""

from collections.abc import Mapping, Sequence
from typing import Any

from kybern.component.clock import Clock
from kybern.scheduler.devices.allocator import Chosen
from kybern.scheduler.devices.pools import Device

Obj = dict[str, Any]


def allocation(
    claim: Obj, chosen: Sequence[Chosen], classes: Mapping[str, Obj], node: str, clock: Clock
) -> Obj:
    """``status.allocation`` of the claim."""
    devices: Obj = {"results": [_result(each, clock) for each in chosen]}
    if configurations := _configurations(claim, chosen, classes):
        devices["config"] = configurations
    result: Obj = {"devices": devices}
    if selector := _node_selector([each.device for each in chosen], node):
        result["nodeSelector"] = selector
    return result


def _result(chosen: Chosen, clock: Clock) -> Obj:
    device = chosen.device
    driver, pool, name = device.id
    result: Obj = {"request": chosen.request.full_name, "driver": driver, "pool": pool}
    result["device"] = name
    if chosen.request.admin:
        result["adminAccess"] = True
    if chosen.request.tolerations:
        result["tolerations"] = list(chosen.request.tolerations)
    for conditions in ("bindingConditions", "bindingFailureConditions"):
        if device.spec.get(conditions):
            result[conditions] = device.spec[conditions]
    if chosen.consumed is not None:
        result["shareID"] = clock.uid()
        if chosen.consumed:
            result["consumedCapacity"] = {
                key: amount.canonical() for key, amount in chosen.consumed.items()
            }
    return result


def _configurations(claim: Obj, chosen: Sequence[Chosen], classes: Mapping[str, Obj]) -> list[Obj]:
    """The classes' configurations, each class once for all its requests, then the claim's own."""
    served = list(dict.fromkeys(each.request.full_name for each in chosen))
    by_class: dict[str, list[str]] = {}
    for each in chosen:
        names = by_class.setdefault(each.request.class_name, [])
        if each.request.full_name not in names:
            names.append(each.request.full_name)
    found = [
        {"source": "FromClass", "requests": names, **held}
        for class_name, names in by_class.items()
        for held in classes[class_name]["spec"].get("config") or ()
    ]
    for held in claim["spec"]["devices"].get("config") or ():
        names = held.get("requests") or []
        covered = {name for name in served if name in names or name.partition("/")[0] in names}
        if not names or covered:
            found.append({"source": "FromClaim", **held})
    return found


def _node_selector(devices: Sequence[Device], node: str) -> Obj | None:
    """The nodes from which all devices can be used; None for all nodes."""
    term: Obj = {}
    for device in devices:
        if device.place.get("nodeName") or device.spec.get("bindsToNode"):
            only = {"key": "metadata.name", "operator": "In", "values": [node]}
            return {"nodeSelectorTerms": [{"matchFields": [only]}]}
        for held in (device.place.get("nodeSelector") or {}).get("nodeSelectorTerms") or ():
            for part in ("matchFields", "matchExpressions"):
                known = term.setdefault(part, [])
                known += [each for each in held.get(part) or () if each not in known]
    term = {part: held for part, held in term.items() if held}
    return {"nodeSelectorTerms": [term]} if term else None
