"""Gives back what killed servers left allocated, and takes what Services hold unrecorded.

Runs at start and every few minutes, as upstream's repair loops do. An address or port must look
orphaned twice, one period apart, before it is freed: between allocation and the write of its
Service it looks the same.
"""

import asyncio
import logging

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import IP_ADDRESSES, SERVICES
from kybern.apiserver.allocation.cluster_ips import MANAGED_BY, AddressTaken, ClusterIps
from kybern.apiserver.allocation.node_ports import NodePorts
from kybern.apiserver.allocation.services import owned_ips, owned_ports
from kybern.apiserver.lookup import Lookup
from kybern.store.interface import StoreError

log = logging.getLogger(__name__)

PERIOD_SECONDS = 180.0


class Repair:
    """Compares what is allocated with what Services hold."""

    def __init__(self, lookup: Lookup, ips: ClusterIps, ports: NodePorts) -> None:
        self._lookup = lookup
        self._ips = ips
        self._ports = ports
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
        await self._repair_ips(services)

    async def _repair_ports(self, services: list[Obj]) -> None:
        held = frozenset(port for service in services for port in owned_ports(service["spec"]))
        taken = await self._ports.taken()
        orphaned = taken - held
        confirmed = orphaned & self._orphaned_ports
        self._orphaned_ports = orphaned - confirmed
        await self._ports.replace(taken, (taken | held) - confirmed)

    async def _repair_ips(self, services: list[Obj]) -> None:
        owners = {ip: service for service in services for ip in owned_ips(service["spec"])}
        recorded = {
            found["metadata"]["name"]
            for found in self._lookup.list(IP_ADDRESSES)
            if MANAGED_BY in (found["metadata"].get("labels") or {}).values()
        }
        orphaned = frozenset(recorded - owners.keys())
        for address in sorted(orphaned & self._orphaned_ips):
            await self._ips.release(address)
        self._orphaned_ips = orphaned - self._orphaned_ips
        for address in sorted(owners.keys() - recorded):
            try:
                await self._ips.take(owners[address], address, False)
            except AddressTaken as taken:
                log.warning("The cluster IP %s cannot be recorded: %s", address, taken)
