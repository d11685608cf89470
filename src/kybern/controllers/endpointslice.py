"""EndpointSlices: a Service's addresses in slices of at most 100, one set a port list.

What already stands in a slice stays there, so that a change touches few slices; new addresses
fill slices with room, then new slices. A Service without endpoints keeps one empty slice.
"""

from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from kybern.controllers import service_endpoints
from kybern.controllers.controller import Context, Controller

MAX_ENDPOINTS = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"

PortKey = tuple[Any, ...]


class EndpointSliceController(Controller):
    """Keyed by Service."""

    name = "endpointslice-controller"
    account = "endpointslice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.watch(SERVICES)
        self.slices = self.watch(ENDPOINT_SLICES, _service_of_slice)
        self.slices.add_index("service", _service_of_slice)
        self.nodes = self.read(NODES)
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
        service = self.services.get(key)
        slices = self.slices.by_index("service", key)
        if service is None:
            for one in slices:
                await self._delete(one)
            return
        spec = service["spec"]
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return
        if objects.is_deleting(service):
            return
        for family in spec.get("ipFamilies") or ["IPv4"]:
            mine = [one for one in slices if one["addressType"] == family]
            await self._reconcile_family(service, family, mine)
        for one in slices:
            if one["addressType"] not in (spec.get("ipFamilies") or ["IPv4"]):
                await self._delete(one)

    async def _reconcile_family(self, service: Obj, family: str, slices: list[Obj]) -> None:
        desired = self._desired(service, family)
        held: dict[PortKey, list[Obj]] = {}
        for one in sorted(slices, key=objects.name):
            held.setdefault(_port_key(one.get("ports") or []), []).append(one)
        revision = "0"
        surplus = [one for key, group in held.items() if key not in desired for one in group]
        for ports_key, (ports, endpoints) in sorted(desired.items()):
            for current, wanted in _packed(held.get(ports_key, []), ports, endpoints):
                if current is not None and not wanted["endpoints"] and ports_key:
                    surplus.append(current)
                    continue
                written = await self._write(service, family, current, wanted)
                revision = max(revision, written, key=int)
        await self.slices.reached(revision)
        for one in surplus:
            await self._delete(one)

    def _desired(
        self, service: Obj, family: str
    ) -> dict[PortKey, tuple[list[Obj], dict[str, Obj]]]:
        """Endpoints by pod uid, for each distinct list of ports."""
        desired: dict[PortKey, tuple[list[Obj], dict[str, Obj]]] = {}
        for pod in service_endpoints.selected_pods(service, self.pods):
            if not service_endpoints.is_candidate(pod, True):
                continue
            found = [ip for ip in service_endpoints.addresses(pod) if _family(ip) == family]
            if not found:
                continue
            ports = service_endpoints.endpoint_ports(service, pod)
            _, endpoints = desired.setdefault(_port_key(ports), (ports, {}))
            endpoints[objects.uid(pod)] = self._endpoint(service, pod, found[0])
        return desired or {(): ([], {})}

    def _endpoint(self, service: Obj, pod: Obj, address: str) -> Obj:
        serving, terminating = objects.is_pod_ready(pod), objects.is_deleting(pod)
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        endpoint: Obj = {
            "addresses": [address],
            "conditions": {
                "ready": publish or (serving and not terminating),
                "serving": serving,
                "terminating": terminating,
            },
            "targetRef": service_endpoints.target_reference(pod),
        }
        node_name = pod["spec"].get("nodeName")
        if node_name:
            endpoint["nodeName"] = node_name
            node = self.nodes.get(node_name)
            zone = objects.labels(node).get(ZONE) if node is not None else None
            if zone:
                endpoint["zone"] = zone
        name = service_endpoints.hostname(service, pod)
        if name:
            endpoint["hostname"] = name
        return endpoint

    async def _write(self, service: Obj, family: str, current: Obj | None, wanted: Obj) -> str:
        """Create or update one slice; returns the revision that was written, or 0."""
        labels = {**objects.labels(service), SERVICE_NAME: objects.name(service)}
        labels[MANAGED_BY] = MANAGER
        if service_endpoints.is_headless(service):
            labels[service_endpoints.HEADLESS] = ""
        if current is None:
            meta = {
                "generateName": objects.name(service) + "-",
                "namespace": objects.namespace(service),
                "labels": labels,
                "annotations": {TRIGGER_TIME: self.clock.timestamp()},
                "ownerReferences": [objects.controller_reference(service)],
            }
            body = {"metadata": meta, "addressType": family, **wanted}
            created = await self.client.create(ENDPOINT_SLICES, body)
            return objects.resource_version(created)
        same = (current.get("endpoints") or []) == wanted["endpoints"]
        if same and objects.labels(current) == labels:
            return "0"
        noted = {**objects.annotations(current), TRIGGER_TIME: self.clock.timestamp()}
        meta = {**current["metadata"], "labels": labels, "annotations": noted}
        updated = await self.client.update(ENDPOINT_SLICES, {**current, "metadata": meta, **wanted})
        return objects.resource_version(updated)

    async def _delete(self, one: Obj) -> None:
        try:
            await self.client.delete(
                ENDPOINT_SLICES, objects.name(one), objects.namespace(one), uid=objects.uid(one)
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _packed(
    slices: list[Obj], ports: list[Obj], endpoints: dict[str, Obj]
) -> list[tuple[Obj | None, Obj]]:
    """What every slice of one port list shall hold; new slices have no current state."""
    left = dict(endpoints)
    packed: list[tuple[Obj | None, Obj]] = []
    for one in slices:
        kept = []
        for endpoint in one.get("endpoints") or ():
            uid = (endpoint.get("targetRef") or {}).get("uid", "")
            if uid in left:
                kept.append(left.pop(uid))
        packed.append((one, {"endpoints": kept, "ports": one.get("ports") or ports}))
    for endpoint in left.values():
        room = next((want for _, want in packed if len(want["endpoints"]) < MAX_ENDPOINTS), None)
        if room is None:
            room = {"endpoints": [], "ports": ports}
            packed.append((None, room))
        room["endpoints"].append(endpoint)
    if not packed and not ports:
        packed.append((None, {"endpoints": [], "ports": []}))
    return packed


def _port_key(ports: list[Obj]) -> PortKey:
    keys = ("name", "port", "protocol", "appProtocol")
    return tuple(sorted(tuple(str(port.get(key) or "") for key in keys) for port in ports))


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _service_of_slice(obj: Obj) -> tuple[str, ...]:
    labels = objects.labels(obj)
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return ()
    return (f"{objects.namespace(obj)}/{labels[SERVICE_NAME]}",)
