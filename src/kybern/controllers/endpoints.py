"""Endpoints (v1): the older list of a Service's addresses, for clients that still read it."""

from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import ENDPOINTS, PODS, SERVICES
from kybern.controllers import service_endpoints
from kybern.controllers.controller import Context, Controller

MAX_ADDRESSES = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"


class EndpointsController(Controller):
    """Keyed by Service."""

    name = "endpoints-controller"
    account = "endpoint-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.watch(SERVICES)
        self.endpoints = self.watch(ENDPOINTS)
        self.pods = self.read(PODS)
        self.pods.on_change(self._wake)

    def _wake(self, old: Obj | None, new: Obj | None) -> None:
        if service_endpoints.shows_the_same(old, new):
            return
        for pod in (old, new):
            if pod is not None:
                for key in service_endpoints.services_of(self.services, pod):
                    self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        namespace, name = objects.split_key(key)
        service = self.services.get(key)
        current = self.endpoints.get(key)
        if service is None:
            if current is not None and objects.labels(current).get(MANAGED_BY) == MANAGER:
                await self._delete(namespace, name)
            return
        if not service["spec"].get("selector") or objects.is_deleting(service):
            return
        await self._write(service, current)

    async def _delete(self, namespace: str, name: str) -> None:
        try:
            await self.client.delete(ENDPOINTS, name, namespace)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _write(self, service: Obj, current: Obj | None) -> None:
        subsets, cut = _subsets(service, service_endpoints.selected_pods(service, self.pods))
        labels = {**objects.labels(service), MANAGED_BY: MANAGER}
        if service_endpoints.is_headless(service):
            labels[service_endpoints.HEADLESS] = ""
        annotations = {OVER_CAPACITY: "truncated"} if cut else {}
        if current is None:
            meta = {
                "name": objects.name(service),
                "namespace": objects.namespace(service),
                "labels": labels,
                "annotations": annotations,
            }
            await self.client.create(ENDPOINTS, {"metadata": meta, "subsets": subsets})
            return
        noted = {k: v for k, v in objects.annotations(current).items() if k != OVER_CAPACITY}
        annotations |= noted
        if (
            (current.get("subsets") or []) == subsets
            and objects.labels(current) == labels
            and objects.annotations(current) == annotations
        ):
            return
        meta = {**current["metadata"], "labels": labels, "annotations": annotations}
        await self.client.update(ENDPOINTS, {**current, "metadata": meta, "subsets": subsets})


def _subsets(service: Obj, pods: list[Obj]) -> tuple[list[Obj], bool]:
    """Addresses grouped by their ports, and whether some were cut off."""
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    groups: dict[tuple[Any, ...], Obj] = {}
    count = 0
    candidates = [pod for pod in pods if service_endpoints.is_candidate(pod, publish)]
    for pod in sorted(candidates, key=lambda pod: not objects.is_pod_ready(pod))[:MAX_ADDRESSES]:
        ports = service_endpoints.endpoint_ports(service, pod)
        if not ports and not service_endpoints.is_headless(service):
            continue
        count += 1
        key = tuple(tuple(sorted(port.items())) for port in ports)
        group = groups.setdefault(key, {"addresses": [], "notReadyAddresses": [], "ports": ports})
        ready = publish or objects.is_pod_ready(pod)
        group["addresses" if ready else "notReadyAddresses"].append(_address(service, pod))
    subsets = [_tidy(groups[key]) for key in sorted(groups)]
    return subsets, len(candidates) > MAX_ADDRESSES


def _address(service: Obj, pod: Obj) -> Obj:
    address = {
        "ip": objects.status(pod)["podIP"],
        "targetRef": service_endpoints.target_reference(pod),
    }
    if pod["spec"].get("nodeName"):
        address["nodeName"] = pod["spec"]["nodeName"]
    name = service_endpoints.hostname(service, pod)
    if name:
        address["hostname"] = name
    return address


def _tidy(group: Obj) -> Obj:
    """Sorted, without empty lists and empty names, as the server stores it."""
    tidy: Obj = {}
    for field in ("addresses", "notReadyAddresses"):
        if group[field]:
            tidy[field] = sorted(group[field], key=lambda address: address["ip"])
    ports = [{k: v for k, v in port.items() if v} for port in group["ports"]]
    if ports:
        tidy["ports"] = sorted(ports, key=lambda port: (port.get("name", ""), port["port"]))
    return tidy
