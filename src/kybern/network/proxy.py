"""The service proxy's loop: from informers to the table, one transaction for all that changed.

Informers call back with what changed, which marks an owner (a Service, a pod with host ports, the
nodes) as dirty; the loop turns all dirty owners into fragments, the ruleset into a transaction, and
a worker thread hands it to the kernel. While one is applied, changes gather for the next, so the
queue is at most one entry an owner. What the kernel refuses, or a table that somebody deleted, is
healed by applying the whole table. After changes of UDP Services stale flows are deleted.
"""

import asyncio
import logging

from kybern.api.errors import Obj
from kybern.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from kybern.client.informer import Informers
from kybern.network import conntrack
from kybern.network.config import Config
from kybern.network.conntrack import Wanted
from kybern.network.endpoints import Endpoint, NodeView, choose, collect
from kybern.network.health import HealthServers, ServiceHealth
from kybern.network.nftables.host_ports import (
    host_port_fragment,
    node_addresses_fragment,
    udp_host_ports,
)
from kybern.network.nftables.ruleset import EMPTY, Fragment, Ruleset
from kybern.network.nftables.service_rules import service_fragment
from kybern.network.nftables.table import FAMILY_AND_TABLE, REFUSE, Skeleton
from kybern.network.nftables.transport import Nftables, NftablesError
from kybern.network.routes import pod_cidr
from kybern.network.services import ServicePort, is_proxied, service_ports

logger = logging.getLogger(__name__)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
_NODES = "nodes"
# How often the table is looked at, in case somebody else flushed the ruleset.
_CHECK_SECONDS = 30
_MAX_RETRY_SECONDS = 30


class ServiceProxy:
    """One node's service proxy; ``run`` is its life."""

    def __init__(
        self, informers: Informers, nftables: Nftables, config: Config, node_name: str
    ) -> None:
        self._nftables = nftables
        self._config = config
        self._node = NodeView(node_name)
        self._ruleset = Ruleset(Skeleton(config.cluster_cidr, config.service_cluster_ip_range))
        self._udp: dict[str, Wanted] = {}
        self._health: dict[int, tuple[str, ServiceHealth]] = {}
        self._health_servers = HealthServers()
        self._dirty: dict[str, None] = {_NODES: None}
        self._changed = asyncio.Event()
        self._whole = True
        self.applied = asyncio.Event()
        """Set while the kernel's table is what the API wants, as far as this process has seen."""
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(ENDPOINT_SLICES)
        self._pods = informers.informer(PODS, field_selector=f"spec.nodeName={node_name}")
        self._nodes = informers.informer(NODES)
        self._slices.add_index("service", _services_of_slice)
        self._services.on_change(lambda old, new: self._mark(f"service/{_key(new or old)}"))
        self._pods.on_change(lambda old, new: self._mark(f"pod/{_key(new or old)}"))
        self._slices.on_change(self._slice_changed)
        self._nodes.on_change(self._node_changed)

    async def run(self) -> None:
        """Serve until cancelled. The informers are synced; rules stay when this process ends."""
        if self._config.healthz_port:
            await self._health_servers.serve_proxy(
                self._config.healthz_port, lambda: not self._whole
            )
        retry = 1.0
        try:
            while True:
                try:
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    await self._check()
                if await self._sync():
                    retry = 1.0
                else:
                    await asyncio.sleep(retry)
                    retry = min(retry * 2, _MAX_RETRY_SECONDS)
        finally:
            await self._health_servers.close()

    def _mark(self, owner: str) -> None:
        self._dirty[owner] = None
        self.applied.clear()
        self._changed.set()

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for endpoint_slice in (old, new):
            for service in _services_of_slice(endpoint_slice) if endpoint_slice else ():
                self._mark(f"service/{service}")

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Heartbeats change Nodes all the time: only addresses, own zone and own pods matter."""
        node = new or old
        if node is None:
            return
        if node_addresses_fragment([old or {}]) != node_addresses_fragment([new or {}]):
            self._mark(_NODES)
        if node["metadata"]["name"] != self._node.name or new is None:
            return
        skeleton = Skeleton(
            self._config.cluster_cidr, self._config.service_cluster_ip_range, pod_cidr(new)
        )
        if skeleton != self._ruleset.skeleton:
            self._ruleset.skeleton = skeleton
            self._whole = True
            self._mark(_NODES)
        zone = (new["metadata"].get("labels") or {}).get(ZONE_LABEL, "")
        if zone != self._node.zone:
            self._node = NodeView(self._node.name, zone)
            for service in self._services.list():
                self._mark(f"service/{_key(service)}")

    async def _check(self) -> None:
        """Apply everything again if the table is not there any more."""
        try:
            await asyncio.to_thread(self._nftables.run, f"list chain {FAMILY_AND_TABLE} {REFUSE}")
        except NftablesError:
            logger.warning("somebody deleted the table %s; applying it again", FAMILY_AND_TABLE)
            self._whole = True

    async def _sync(self) -> bool:
        """Bring the table up to date; false if the kernel refused it."""
        self._changed.clear()
        dirty, self._dirty = self._dirty, {}
        if not dirty and not self._whole:
            return True
        affected = Wanted()
        updates = {owner: self._fragment(owner, affected) for owner in dirty}
        if self._whole:
            for share in self._udp.values():
                affected.add(share)
        sweep = self._ruleset.sweep()
        transaction = sweep + self._ruleset.change(updates)
        if not await self._apply(transaction):
            return False
        if affected:
            await asyncio.to_thread(conntrack.clean, self._wanted(affected))
        await self._health_servers.update({p: health for p, (_, health) in self._health.items()})
        if not self._dirty:
            self.applied.set()
        return True

    async def _apply(self, transaction: str) -> bool:
        """Run a transaction, or the whole table where that is due or the transaction fails."""
        if not self._whole:
            if not transaction:
                return True
            try:
                await asyncio.to_thread(self._nftables.run, transaction)
                return True
            except NftablesError as error:
                logger.warning("a change was refused, applying the whole table: %s", error)
                self._whole = True
        try:
            await asyncio.to_thread(self._nftables.run, self._ruleset.render())
        except NftablesError as error:
            logger.error("the table %s was refused: %s", FAMILY_AND_TABLE, error)
            self._changed.set()
            return False
        self._whole = False
        return True

    def _fragment(self, owner: str, affected: Wanted) -> Fragment:
        """An owner's rules as of now; its UDP addresses, before and now, are added to affected."""
        kind, _, key = owner.partition("/")
        if kind == _NODES:
            return node_addresses_fragment(self._nodes.list())
        udp = Wanted()
        if kind == "pod":
            pod = self._pods.get(key)
            fragment = host_port_fragment(pod) if pod else EMPTY
            udp.node_ports = udp_host_ports(pod) if pod else {}
        else:
            fragment = self._service(owner, key, udp)
        before = self._udp.pop(owner, Wanted())
        if udp:
            self._udp[owner] = udp
        if udp != before:
            affected.add(before, without_endpoints=True)
            affected.add(udp)
        return fragment

    def _service(self, owner: str, key: str, udp: Wanted) -> Fragment:
        for number in [number for number, (name, _) in self._health.items() if name == owner]:
            del self._health[number]
        service = self._services.get(key)
        if service is None or not is_proxied(service):
            return EMPTY
        endpoints = collect(self._slices.by_index("service", key), self._node.name)
        self._watch_health(owner, service, endpoints)
        ports = []
        for port in service_ports(service):
            behind = endpoints.get(port.name, [])
            ports.append((port, choose(behind, self._node)))
            if port.protocol == "udp":
                _add_udp(udp, port, behind)
        return service_fragment(ports, self._config.cluster_cidr)

    def _watch_health(self, owner: str, service: Obj, endpoints: dict[str, list[Endpoint]]) -> None:
        port = service["spec"].get("healthCheckNodePort")
        if not port or service["spec"].get("externalTrafficPolicy") != "Local":
            return
        local = {
            endpoint.address
            for behind in endpoints.values()
            for endpoint in behind
            if endpoint.local and endpoint.ready
        }
        meta = service["metadata"]
        self._health[port] = (owner, ServiceHealth(meta["namespace"], meta["name"], len(local)))

    def _wanted(self, affected: Wanted) -> Wanted:
        """What the affected addresses lead to now, also where another owner shares them."""
        wanted = Wanted()
        wanted.add(affected)
        for share in self._udp.values():
            for place, endpoints in share.places.items():
                if place in wanted.places:
                    wanted.places[place] |= endpoints
            for port, endpoints in share.node_ports.items():
                if port in wanted.node_ports:
                    wanted.node_ports[port] |= endpoints
        return wanted


def _add_udp(udp: Wanted, port: ServicePort, behind: list[Endpoint]) -> None:
    """Flows may stay with every endpoint that still serves, also where new ones do not go."""
    serving = {
        (endpoint.address, endpoint.port)
        for endpoint in behind
        if endpoint.ready or endpoint.serving
    }
    for address in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
        udp.places[address, port.port] = serving
    if port.node_port:
        udp.node_ports[port.node_port] = serving


def _services_of_slice(endpoint_slice: Obj) -> list[str]:
    meta = endpoint_slice["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return [f"{meta['namespace']}/{name}"] if name else []


def _key(obj: Obj | None) -> str:
    meta = (obj or {}).get("metadata") or {}
    return f"{meta['namespace']}/{meta['name']}"
