"""Cluster IPs: each one is an IPAddress object that names its Service, as upstream's are.

Creating the object is taking the address: of two servers, one gets AlreadyExists. Automatic
choices are random and prefer the upper part of a range, so that addresses people choose
themselves (mostly low ones) stay free.
"""

import ipaddress
from collections.abc import Iterator

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import IP_ADDRESSES, SERVICE_CIDRS
from kybern.apiserver.config import Config
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback
from kybern.component.clock import Clock

MANAGED_BY = "ipallocator.k8s.io"
_FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
_MANAGED_LABEL = "ipaddress.kubernetes.io/managed-by"
# A full range is given up after this many addresses that turned out to be taken.
_MAX_ATTEMPTS = 65536

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressTaken(Exception):
    """The address cannot be allocated; the text says why."""


class RangeFull(Exception):
    """No address of the family is free."""


class ClusterIps:
    """Takes and gives back addresses."""

    def __init__(self, config: Config, lookup: Lookup, loopback: Loopback, clock: Clock) -> None:
        self._configured = [
            ipaddress.ip_network(cidr) for cidr in config.service_cluster_ip_range.split(",")
        ]
        self._lookup = lookup
        self._loopback = loopback
        self._clock = clock

    @property
    def families(self) -> list[str]:
        """``IPv4`` and ``IPv6`` as far as the cluster has them, the default first."""
        return list(dict.fromkeys(family_of(network) for network in self._configured))

    def networks(self, family: str) -> list[Network]:
        """The ranges that addresses of a family may be taken from now."""
        ready = [found for found in self._lookup.list(SERVICE_CIDRS) if _is_ready(found)]
        return [network for network in _networks(ready) if family_of(network) == family]

    def in_range(self, address: str) -> bool:
        """Whether an address is of any range, be it ready or not."""
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in _networks(self._lookup.list(SERVICE_CIDRS)))

    async def take(self, service: Obj, address: str, dry_run: bool) -> None:
        """Take one address for a Service; raises AddressTaken."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            raise AddressTaken("provided IP is not a valid IP address") from None
        networks = self.networks(family_of(parsed))
        if not any(parsed in network for network in networks):
            raise AddressTaken("the provided network does not match the current range")
        if not any(_allocatable(network, parsed) for network in networks):
            cidrs = " ".join(str(network) for network in networks)
            raise AddressTaken(
                f"the provided IP ({parsed}) is not in the valid range. "
                f"The range of valid IPs is {cidrs}"
            )
        if not await self._claim(service, str(parsed), dry_run):
            raise AddressTaken("provided IP is already allocated")

    async def take_any(self, service: Obj, family: str, dry_run: bool) -> str:
        """Take a free address of a family; raises RangeFull."""
        for network in self.networks(family):
            for address in self._candidates(network):
                if self._lookup.get(IP_ADDRESSES, address) is None and await self._claim(
                    service, address, dry_run
                ):
                    return address
        raise RangeFull("range is full")

    async def record(self, service: Obj, address: str) -> None:
        """Take the address that a Service has already, whatever its range; raises StatusError."""
        await self._claim(service, address, False)

    async def release(self, address: str) -> None:
        """Give an address back; one that is free already is no failure."""
        await self._loopback.delete(IP_ADDRESSES, address)

    async def _claim(self, service: Obj, address: str, dry_run: bool) -> bool:
        if dry_run:
            return self._lookup.get(IP_ADDRESSES, address) is None
        metadata = service["metadata"]
        owner = {
            "resource": "services",
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
        }
        record = {
            "metadata": {"name": address, "labels": labels_of(address)},
            "spec": {"parentRef": owner},
        }
        try:
            await self._loopback.create(IP_ADDRESSES, record)
        except StatusError as error:
            if error.reason == "AlreadyExists":
                return False
            raise
        return True

    def _candidates(self, network: Network) -> Iterator[str]:
        """Every usable address once: the upper part from a random place on, then the lower."""
        # The network's own address is never given out, nor is the broadcast address of IPv4.
        last = network.num_addresses - (1 if network.version == 4 else 0)
        size = max(last - 1, 0)
        reserved = min(max(16, size // 16), 256) if size >= 32 else 0
        base = int(network.network_address)
        attempts = 0
        for start, end in ((1 + reserved, last), (1, 1 + reserved)):
            span = end - start
            if span <= 0:
                continue
            offset = self._clock.random.randrange(span)
            for step in range(span):
                attempts += 1
                if attempts > _MAX_ATTEMPTS:
                    return
                number = base + start + (offset + step) % span
                yield str(type(network.network_address)(number))


def family_of(
    network: Network | ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> str:
    return f"IPv{network.version}"


def labels_of(address: str) -> dict[str, str]:
    """What the record of an address is labelled with."""
    family = family_of(ipaddress.ip_address(address))
    return {_FAMILY_LABEL: family, _MANAGED_LABEL: MANAGED_BY}


def _networks(service_cidrs: list[Obj]) -> list[Network]:
    texts = [text for found in service_cidrs for text in found["spec"].get("cidrs") or []]
    return [ipaddress.ip_network(text) for text in dict.fromkeys(texts)]


def _is_ready(service_cidr: Obj) -> bool:
    """Whether addresses may be taken from a range; one that nobody has looked at is ready."""
    if service_cidr["metadata"].get("deletionTimestamp"):
        return False
    conditions = (service_cidr.get("status") or {}).get("conditions") or []
    return all(c["status"] == "True" for c in conditions if c["type"] == "Ready")


def _allocatable(network: Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address not in network or address == network.network_address:
        return False
    return network.version == 6 or address != network.broadcast_address
