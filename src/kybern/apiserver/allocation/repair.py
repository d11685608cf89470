"""Gives back what killed servers left allocated, and takes what Services hold unrecorded.

Runs at start and every few minutes, as upstream's repair loops do. An address or port must look
orphaned twice, one period apart, before it is freed: between allocation and the write of its
Service it looks the same. What only people can repair is told in events.
"""

import asyncio
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import IP_ADDRESSES, SERVICES
from kybern.apiserver.allocation.cluster_ips import MANAGED_BY, ClusterIps, labels_of
from kybern.apiserver.allocation.node_ports import NodePorts
from kybern.apiserver.allocation.services import owned_ips, owned_ports
from kybern.apiserver.allocation.warnings import Warnings
from kybern.apiserver.lookup import Lookup
from kybern.store.interface import StoreError

log = logging.getLogger(__name__)

PERIOD_SECONDS = 180.0
_ADDRESSES, _PORTS, _RECORDS = "ClusterIPAllocation", "PortAllocation", "IPAddressAllocation"


class Repair:
    """Compares what is allocated with what Services hold."""

    def __init__(
        self, lookup: Lookup, ips: ClusterIps, ports: NodePorts, warnings: Warnings
    ) -> None:
        self._lookup = lookup
        self._ips = ips
        self._ports = ports
        self._warnings = warnings
        self._orphaned_ips: frozenset[str] = frozenset()
        self._orphaned_ports: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Repair now and then; runs until cancelled."""
        while True:
            try:
                await self.once()
            except (StatusError, StoreError) as error:
                log.warning("Repairing allocations failed, to be tried again: %s", error)
            await asyncio.sleep(PERIOD_SECONDS)

    async def once(self) -> None:
        """One comparison of everything."""
        services = self._lookup.list(SERVICES)
        await self._repair_ports(services)
        for service in services:
            for address in owned_ips(service["spec"]):
                await self._repair_address(service, address)
        await self._free_records(services)

    async def _repair_ports(self, services: list[Obj]) -> None:
        taken = await self._ports.taken()
        held: set[int] = set()
        for service in services:
            for port in dict.fromkeys(owned_ports(service["spec"])):
                await self._judge_port(service, port, port in held, port in taken)
                held.add(port)
        orphaned = taken - held
        confirmed = orphaned & self._orphaned_ports
        self._orphaned_ports = orphaned - confirmed
        await self._ports.replace(taken, (taken | held) - confirmed)

    async def _judge_port(self, service: Obj, port: int, twice: bool, recorded: bool) -> None:
        if port not in self._ports.ports:
            first, last = self._ports.ports[0], self._ports.ports[-1]
            reason, text = (
                "PortOutOfRange",
                f"Port {port} is not within the port range {first}-{last}; please recreate service",
            )
        elif twice:
            reason = "PortAlreadyAllocated"
            text = f"Port {port} was assigned to multiple services; please recreate service"
        elif not recorded:
            reason, text = "PortNotAllocated", f"Port {port} is not allocated; repairing"
        else:
            return
        await self._warnings.say(service, SERVICES, reason, _PORTS, text)

    async def _repair_address(self, service: Obj, address: str) -> None:
        """Make the record of a Service's address what it should be."""
        family = "IPv6" if ":" in address else "IPv4"
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        if not self._ips.in_range(address):
            text = (
                f"Cluster IP [{family}]: {address} is not within any configured Service CIDR; "
                "please recreate service"
            )
            await self._warnings.say(service, SERVICES, "ClusterIPOutOfRange", _ADDRESSES, text)
            return
        record = self._lookup.get(IP_ADDRESSES, address)
        if record is None:
            text = f"Cluster IP [{family}]: {address} is not allocated; repairing"
            await self._warnings.say(service, SERVICES, "ClusterIPNotAllocated", _ADDRESSES, text)
            await self._ips.record(service, address)
            return
        owner = self._owner(record)
        if owner is None or (owner["metadata"]["namespace"], owner["metadata"]["name"]) != (
            namespace,
            name,
        ):
            if owner is not None and address in owned_ips(owner["spec"]):
                text = (
                    f"Cluster IP [{family}]:{address} was assigned to multiple services; please "
                    "recreate service"
                )
                reason = "ClusterIPAlreadyAllocated"
                await self._warnings.say(service, SERVICES, reason, _ADDRESSES, text)
                return
            text = (
                f"the ClusterIP [{family}]: {address} for Service {namespace}/{name} has a wrong "
                "reference; repairing"
            )
            await self._warnings.say(service, SERVICES, "ClusterIPNotAllocated", _ADDRESSES, text)
        elif (record["metadata"].get("labels") or {}).items() >= labels_of(address).items():
            return
        await self._ips.release(address)
        await self._ips.record(service, address)

    def _owner(self, record: Obj) -> Obj | None:
        """The Service that an address is recorded for; None if there is none."""
        parent = (record.get("spec") or {}).get("parentRef") or {}
        if parent.get("group") or parent.get("resource") != "services":
            return None
        return self._lookup.get(SERVICES, parent.get("name", ""), parent.get("namespace", ""))

    async def _free_records(self, services: list[Obj]) -> None:
        """Free addresses that no Service holds any more."""
        held = {address for service in services for address in owned_ips(service["spec"])}
        orphaned: dict[str, Obj] = {}
        for record in self._lookup.list(IP_ADDRESSES):
            metadata = record["metadata"]
            managed = MANAGED_BY in (metadata.get("labels") or {}).values()
            if managed and metadata["name"] not in held:
                orphaned[metadata["name"]] = record
        for address in sorted(orphaned.keys() & self._orphaned_ips):
            parent = (orphaned[address].get("spec") or {}).get("parentRef") or {}
            whose = f"{parent.get('namespace', '')}/{parent.get('name', '')}"
            gone = self._owner(orphaned[address]) is None
            reason = "IPAddressNotAllocated" if gone else "IPAddressWrongReference"
            why = "appears to have leaked:" if gone else "has a wrong reference;"
            text = f"IPAddress: {address} for Service {whose} {why} cleaning up"
            await self._warnings.say(orphaned[address], IP_ADDRESSES, reason, _RECORDS, text)
            await self._ips.release(address)
        self._orphaned_ips = frozenset(orphaned.keys() - self._orphaned_ips)
