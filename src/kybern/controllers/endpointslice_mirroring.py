"""EndpointSlices for Endpoints that people write themselves, below Services without a selector.

Consumers read slices alone. Each subset becomes one slice per address family, with the labels and
annotations of the Endpoints, and at most 1,000 addresses.
"""

import ipaddress

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from kybern.controllers.controller import Context, Controller
from kybern.controllers.endpointslice import MANAGED_BY, SERVICE_NAME, TRIGGER_TIME

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_ADDRESSES = 1000

SliceKey = tuple[str, tuple[tuple[str, ...], ...]]


class EndpointSliceMirroringController(Controller):
    """Keyed by Endpoints, which have the name of their Service."""

    name = "endpointslice-mirroring-controller"
    account = "endpointslicemirroring-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.endpoints = self.watch(ENDPOINTS)
        self.services = self.watch(SERVICES)
        self.slices = self.watch(ENDPOINT_SLICES, _mirrored_for)
        self.slices.add_index("endpoints", _mirrored_for)

    async def reconcile(self, key: str) -> None:
        endpoints, service = self.endpoints.get(key), self.services.get(key)
        held = sorted(self.slices.by_index("endpoints", key), key=objects.name)
        wanted: dict[SliceKey, Obj] = {}
        if endpoints is not None and service is not None and _is_mirrored(endpoints, service):
            wanted = _wanted(endpoints)
        revision = "0"
        for current in held:
            mirror = wanted.pop(_key(current), None)
            if mirror is None:
                await self._delete(current)
            elif written := await self._update(current, mirror):
                revision = max(revision, written, key=int)
        if endpoints is not None and not objects.is_deleting(endpoints):
            for mirror in wanted.values():
                created = await self.client.create(ENDPOINT_SLICES, mirror)
                revision = max(revision, objects.resource_version(created), key=int)
        await self.slices.reached(revision)

    async def _update(self, current: Obj, mirror: Obj) -> str:
        """Bring one slice up to date; returns the revision that was written, if any."""
        parts = ("labels", "annotations")
        meta = {**current["metadata"], **{part: mirror["metadata"][part] for part in parts}}
        same = all((current["metadata"].get(part) or {}) == meta[part] for part in parts)
        if same and (current.get("endpoints") or []) == mirror["endpoints"]:
            return ""
        body = {**current, "metadata": meta, "endpoints": mirror["endpoints"]}
        return objects.resource_version(await self.client.update(ENDPOINT_SLICES, body))

    async def _delete(self, one: Obj) -> None:
        try:
            await self.client.delete(
                ENDPOINT_SLICES, objects.name(one), objects.namespace(one), uid=objects.uid(one)
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _is_mirrored(endpoints: Obj, service: Obj) -> bool:
    """Not where slices are made from the selector, nor where Endpoints serve as a lock."""
    if objects.labels(endpoints).get(SKIP_MIRROR) == "true":
        return False
    return LEADER not in objects.annotations(endpoints) and not service["spec"].get("selector")


def _wanted(endpoints: Obj) -> dict[SliceKey, Obj]:
    """The slices to hold, by address family and ports."""
    wanted: dict[SliceKey, Obj] = {}
    for subset in endpoints.get("subsets") or ():
        ports = subset.get("ports") or []
        listed = [(address, True) for address in subset.get("addresses") or ()]
        listed += [(address, False) for address in subset.get("notReadyAddresses") or ()]
        for address, ready in listed[:MAX_ADDRESSES]:
            family = _family(address["ip"])
            if not family:
                continue
            mirror = _slice(endpoints, family, ports)
            mirror = wanted.setdefault(_key(mirror), mirror)
            mirror["endpoints"].append(_endpoint(address, ready))
    return wanted


def _slice(endpoints: Obj, family: str, ports: list[Obj]) -> Obj:
    left_out = (TRIGGER_TIME, LAST_APPLIED)
    annotations = objects.annotations(endpoints).items()
    labels = {SERVICE_NAME: objects.name(endpoints), MANAGED_BY: MANAGER}
    return {
        "metadata": {
            "generateName": objects.name(endpoints) + "-",
            "namespace": objects.namespace(endpoints),
            "labels": {**objects.labels(endpoints), **labels},
            "annotations": {key: value for key, value in annotations if key not in left_out},
            "ownerReferences": [objects.controller_reference(endpoints)],
        },
        "addressType": family,
        "endpoints": [],
        "ports": [{"name": "", **port} for port in ports],
    }


def _endpoint(address: Obj, ready: bool) -> Obj:
    endpoint: Obj = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("targetRef", "nodeName", "hostname"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


def _family(address: str) -> str:
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def _key(one: Obj) -> SliceKey:
    fields = ("name", "port", "protocol", "appProtocol")
    ports = [tuple(str(port.get(f) or "") for f in fields) for port in one.get("ports") or ()]
    return one["addressType"], tuple(sorted(ports))


def _mirrored_for(one: Obj) -> tuple[str, ...]:
    labels = objects.labels(one)
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return ()
    return (f"{objects.namespace(one)}/{labels[SERVICE_NAME]}",)
