"""Extended resources that a device class stands behind, turned into a claim (KEP 5004).

A pod asks for ``example.com/gpu: 2`` in its containers' requests. Where a node offers no such thing
itself and a class names the resource, the pod gets a claim of its own, which the scheduler makes
with the binding. Until then it exists here only; what it asks for depends on the node.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kybern.api import objects
from kybern.api.quantity import Quantity
from kybern.api.resource_claims import EXTENDED_RESOURCE_CLAIM
from kybern.scheduler.columns.node_table import NodeTable

Obj = dict[str, Any]
Resources = tuple[str, ...]


class ExtendedClaim:
    """What one pod asks for as devices; ``backed`` are class names by resource name."""

    def __init__(self, pod: Obj, resources: Resources, backed: Mapping[str, str]) -> None:
        self._pod, self._resources, self._backed = pod, resources, backed
        self._made: dict[Resources, tuple[Obj, list[Obj]]] = {}

    def lacking(self, nodes: NodeTable, row: int) -> Resources:
        """The resources that the node does not offer itself."""
        return tuple(
            name for name in self._resources if not nodes.resource(name).allocatable.cells[row]
        )

    def claim(self, resources: Resources) -> tuple[Obj, list[Obj]]:
        """The claim for these resources, and which container's request means which of its own."""
        found = self._made.get(resources)
        if found is None:
            classes = {name: self._backed[name] for name in resources}
            requests, mappings = requests_and_mappings(self._pod["spec"], classes)
            found = self._made[resources] = (_claim(self._pod, requests), mappings)
        return found


def is_imagined(claim: Obj) -> bool:
    """The claim exists in the scheduler only; no object has such a name."""
    return str(claim["metadata"]["name"]).startswith("<")


def _claim(pod: Obj, requests: list[Obj]) -> Obj:
    meta = pod["metadata"]
    return {
        "metadata": {
            "namespace": meta["namespace"],
            "name": f"<extended-resources of {meta['name']}>",
            "uid": f"extended-resources-{meta['uid']}",
            "generateName": f"{meta['name']}-extended-resources-",
            "annotations": {EXTENDED_RESOURCE_CLAIM: "true"},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {"devices": {"requests": requests}},
    }


def left_claim(pod: Obj, claims: Iterable[Obj]) -> Obj | None:
    """The claim that an earlier attempt made for the pod: its devices may not do any more."""
    for claim in claims:
        annotations = claim["metadata"].get("annotations") or {}
        is_extended = annotations.get(EXTENDED_RESOURCE_CLAIM) == "true"
        if is_extended and objects.is_controlled_by(claim, pod) and not is_imagined(claim):
            return claim
    return None


def requests_and_mappings(spec: Obj, classes: Mapping[str, str]) -> tuple[list[Obj], list[Obj]]:
    """The requests of the claim by name, and the mappings of containers to them.

    Containers that run together need devices of their own. An init container that ends before the
    later ones start uses what those will have, and only what goes beyond that is asked for once
    more, the most of any.
    """
    requests: list[Obj] = []
    mappings: list[Obj] = []
    for resource in sorted(classes):
        found, mapped = _of_resource(spec, resource, classes[resource])
        requests += found
        mappings += mapped
    return sorted(requests, key=lambda request: request["name"]), mappings


def _of_resource(spec: Obj, resource: str, class_name: str) -> tuple[list[Obj], list[Obj]]:
    inits = spec.get("initContainers") or []
    containers = [*inits, *spec["containers"]]
    brief = [i for i, held in enumerate(inits) if held.get("restartPolicy") != "Always"]
    lasting: list[Obj | None] = [None] * len(containers)
    mappings: list[Obj] = []
    for index, container in enumerate(containers):
        if index not in brief:
            request, mapped = _of_container(index, container, resource, class_name, ())
            lasting[index] = request
            mappings += mapped
    extra: list[Obj] = []
    brief_mappings: list[Obj] = []
    for index in brief:
        reusable = [request for request in lasting[index:] if request is not None]
        request, mapped = _of_container(index, containers[index], resource, class_name, reusable)
        brief_mappings += mapped
        if request is not None:
            extra.append(request)
    most = max(extra, key=lambda request: request["exactly"]["count"], default=None)
    if most is not None:
        names = {request["name"] for request in extra}
        for mapping in brief_mappings:
            if mapping["requestName"] in names:
                mapping["requestName"] = most["name"]
    requests = [request for request in (most, *lasting) if request is not None]
    return requests, mappings + brief_mappings


def _of_container(
    index: int, container: Obj, resource: str, class_name: str, reusable: Sequence[Obj]
) -> tuple[Obj | None, list[Obj]]:
    """A request for what the container needs beyond the reusable ones, None for nothing."""
    asked = (container.get("resources") or {}).get("requests") or {}
    count = Quantity.parse(asked[resource]).value() if resource in asked else 0
    mappings: list[Obj] = []
    if not count:
        return None, mappings
    about = {"containerName": container["name"], "resourceName": resource}
    reused = 0
    for request in reusable:
        reused += request["exactly"]["count"]
        mappings.append({**about, "requestName": request["name"]})
        if reused >= count:
            return None, mappings
    name = f"container-{index}-request-{sorted(asked).index(resource)}"
    mappings.append({**about, "requestName": name})
    exactly = {
        "deviceClassName": class_name,
        "allocationMode": "ExactCount",
        "count": count - reused,
    }
    return {"name": name, "exactly": exactly}, mappings
