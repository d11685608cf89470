"""Keeps ranges of service addresses in use: a ServiceCIDR goes when none of its addresses is held.

A finalizer holds it until then. Addresses that another range contains as well keep it from nothing.
"""

import ipaddress

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import IP_ADDRESSES, SERVICE_CIDRS
from kybern.controllers.controller import Context, Controller

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_MANAGED_BY = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
_READY = "Kubernetes Service CIDR is ready"
_HELD = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new "
    "ServiceCIDR"
)
# API servers must have seen the deletion before the range may go, or they take addresses from it.
_GRACE_SECONDS = 10.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ServiceCidrsController(Controller):
    """Keyed by ServiceCIDR; a change of a range or of an address concerns those that overlap it."""

    name = "service-cidr-controller"
    account = "service-cidrs-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cidrs = self.watch(SERVICE_CIDRS, self._overlapping)
        self.addresses = self.watch(IP_ADDRESSES, self._around)

    def _overlapping(self, changed: Obj) -> list[str]:
        own = _networks(changed)
        others = [
            objects.name(found)
            for found in self.cidrs.list()
            if any(_overlap(one, other) for one in own for other in _networks(found))
        ]
        return list(dict.fromkeys([objects.name(changed), *others]))

    def _around(self, address: Obj) -> list[str]:
        return [objects.name(found) for found in self._containing(_address(address))]

    def _containing(self, address: Address) -> list[Obj]:
        return [found for found in self.cidrs.list() if any(address in n for n in _networks(found))]

    async def reconcile(self, key: str) -> float | None:
        cidr = self.cidrs.get(key)
        if cidr is None:
            return None
        if not objects.is_deleting(cidr):
            if FINALIZER not in objects.finalizers(cidr):
                patch = {"metadata": {"finalizers": [FINALIZER]}}
                await self.client.patch(SERVICE_CIDRS, key, patch, kind="strategic")
            await self._tell(cidr, "True", "", _READY)
            return None
        if self._in_use(cidr):
            await self._tell(cidr, "False", "Terminating", _HELD)
            return None
        deleted = objects.epoch(objects.meta(cidr)["deletionTimestamp"])
        left = deleted + _GRACE_SECONDS - self.clock.time()
        if left > 0:
            return left
        if FINALIZER in objects.finalizers(cidr):
            gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
            await self.client.patch(SERVICE_CIDRS, key, gone, kind="strategic")
        return None

    def _in_use(self, cidr: Obj) -> bool:
        """Whether an address is held that no other range contains."""
        own = _networks(cidr)
        others = [
            network
            for found in self.cidrs.list()
            if objects.name(found) != objects.name(cidr)
            for network in _networks(found)
        ]
        if all(any(_within(network, other) for other in others) for network in own):
            return False
        for found in self.addresses.list():
            if not objects.labels(found).items() >= _MANAGED_BY.items():
                continue
            address = _address(found)
            if any(address in n for n in own) and not any(address in n for n in others):
                return True
        return False

    async def _tell(self, cidr: Obj, status: str, reason: str, message: str) -> None:
        """Set the condition Ready, if it is not like that."""
        current = objects.condition(cidr, "Ready")
        if current is not None and (
            current["status"],
            current.get("reason", ""),
            current.get("message", ""),
        ) == (status, reason, message):
            return
        condition = {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": self.clock.timestamp(),
        }
        await self.client.patch(
            SERVICE_CIDRS,
            objects.name(cidr),
            {
                "apiVersion": SERVICE_CIDRS.api_version,
                "kind": SERVICE_CIDRS.kind,
                "status": {"conditions": [condition]},
            },
            kind="apply",
            subresource="status",
            field_manager=self.name,
            force=True,
        )


def _networks(cidr: Obj) -> list[Network]:
    return [ipaddress.ip_network(text) for text in objects.spec(cidr).get("cidrs") or []]


def _address(found: Obj) -> Address:
    return ipaddress.ip_address(objects.name(found))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _within(network: Network, other: Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return network.subnet_of(other)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return network.subnet_of(other)
    return False
