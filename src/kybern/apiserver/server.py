"""The API server as one object: every part made and joined.

``main.py`` serves its handler over HTTPS; tests and single-process clusters call the handler
directly.
"""

import asyncio
from pathlib import Path

from kybern.api.kinds import builtin_registry, group_versions
from kybern.api.resources import POD_EXPLANATIONS
from kybern.apiserver import health
from kybern.apiserver.access import Access
from kybern.apiserver.allocation.cluster_ips import ClusterIps
from kybern.apiserver.allocation.node_ports import NodePorts
from kybern.apiserver.allocation.repair import Repair
from kybern.apiserver.allocation.services import ServiceAllocator
from kybern.apiserver.allocation.warnings import Warnings
from kybern.apiserver.api_enablement import SWITCHABLE_GATES, ApiEnablement
from kybern.apiserver.backends.kubelets import Kubelets
from kybern.apiserver.bootstrap import bootstrap
from kybern.apiserver.cache import CacheSet, ResourceCache
from kybern.apiserver.call import Services
from kybern.apiserver.config import Config
from kybern.apiserver.custom_resources.controller import CustomResources
from kybern.apiserver.discovery import Discovery
from kybern.apiserver.endpoints import PathIndex, own_endpoints
from kybern.apiserver.explanations import Explanations
from kybern.apiserver.flow_control import FlowControl
from kybern.apiserver.flow_control.dump import dumps
from kybern.apiserver.flow_control.exposition import exposition
from kybern.apiserver.flow_control.stored import CachedResources
from kybern.apiserver.flow_control.upkeep import Upkeep
from kybern.apiserver.health import Check
from kybern.apiserver.in_flight import InFlight
from kybern.apiserver.loopback import Loopback
from kybern.apiserver.metrics import Metrics, admission_exposition, caches_exposition
from kybern.apiserver.openapi import OpenApi
from kybern.apiserver.pipeline import Endpoint, Pipeline
from kybern.component.clock import Clock
from kybern.component.feature_gates import FeatureGates
from kybern.component.http.messages import Request, Response
from kybern.store.interface import Store


class ApiServer:
    """One API server over a store. ``start`` before handling; ``close`` ends every watch."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        self.gates = FeatureGates(config.feature_gates, SWITCHABLE_GATES)
        self._switched = [gate for gate in SWITCHABLE_GATES if self.gates.enabled(gate)]
        enablement = ApiEnablement(config.runtime_config, group_versions(), self.gates)
        self.registry = builtin_registry(enablement.serves)
        self.caches = CacheSet(
            store,
            clock,
            compaction_interval=config.etcd_compaction_interval,
            event_ttl=config.event_ttl,
        )
        self.access = Access(config, self.caches, self.registry, clock, self._switched)
        self.services: Services | None = None
        self._pipeline: Pipeline | None = None
        self._custom: CustomResources | None = None
        self._repair: asyncio.Task[None] | None = None
        self._upkeep: Upkeep | None = None
        self._steps = health.StartSteps()
        self._closing = False

    async def start(self) -> None:
        """Load what is stored, and make the objects that every cluster has."""
        await self.caches.start()
        self._steps.done(health.CACHES)
        loopback = Loopback(self.handler)
        await self.access.start(loopback)
        ips = ClusterIps(self.config, self.access.lookup, loopback, self.clock)
        ports = NodePorts(self.config.node_ports, self.store, self.clock)
        explanations = Explanations(self.access.lookup, loopback)
        services = self.services = Services(
            self.registry,
            self.caches,
            self.clock,
            self.access.authorizers,
            self.access.admission,
            reviews=self.access.reviews,
            token_requests=self.access.token_requests.create,
            allocators={("", "services"): ServiceAllocator(ips, ports)},
            on_demand={POD_EXPLANATIONS[:3]: explanations.ask},
            kubelets=Kubelets(
                self.config.kubelet_client_certificate,
                self.config.kubelet_client_key,
                self.config.kubelet_certificate_authority,
            ),
        )
        self._custom = CustomResources(services, self.access.lookup, loopback)
        endpoints = self._endpoints(self._custom)
        metrics = endpoints["/metrics"] = Metrics(endpoints)
        metrics.sources.append(caches_exposition(self._stored))
        metrics.sources.append(admission_exposition(self.access.admission))
        metrics.sources.append(self.gates.exposition)
        control = self._flow_control()
        if control is not None:
            endpoints |= dumps(control)
            metrics.sources.append(lambda: exposition(control))
        limiter = control or InFlight(
            self.config.max_requests_inflight, self.config.max_mutating_requests_inflight
        )
        self._pipeline = Pipeline(services, self.access.authenticate, endpoints, metrics, limiter)
        await bootstrap(
            loopback,
            self.config,
            self.clock,
            _read(self.config.client_ca_file),
            _read(self.config.requestheader_client_ca_file),
            self._steps,
            self._switched,
        )
        self._upkeep = Upkeep(control, self.access.lookup, self.handler)
        await self._upkeep.start()
        self._steps.done(health.FLOW_CONTROL, health.FLOW_CONTROL_OBJECTS)
        repair = Repair(self.access.lookup, ips, ports, Warnings(loopback, self.clock))
        self._repair = asyncio.create_task(repair.run(), name="allocation-repair")
        self._steps.done(health.REPAIR)
        await self._custom.start()
        self._steps.done(health.CUSTOM_RESOURCES, health.CUSTOM_RESOURCES_LOADED)
        explanations.start()

    async def handler(self, request: Request) -> Response:
        """Answer a request; never raises."""
        assert self._pipeline is not None, "start the server before it handles requests"
        return await self._pipeline.handle(request)

    async def close(self) -> None:
        """Stop following the store, which stays open."""
        self._closing = True
        if self._custom is not None:
            await self._custom.close()
        if self._upkeep is not None:
            await self._upkeep.close()
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)
        await self.caches.close()

    def _endpoints(self, custom: CustomResources) -> dict[str, Endpoint]:
        address = self.config.advertise_address or "127.0.0.1"
        discovery = Discovery(self.registry, f"{address}:{self.config.secure_port}")
        endpoints = own_endpoints(
            self.config,
            self.clock,
            self.access.token_keys,
            self._live_checks(),
            self._ready_checks(),
        )
        for path in ("/api", "/api/", "/apis", "/apis/"):
            endpoints[path] = discovery
        openapi = OpenApi(self.registry, custom.published)
        for path in ("/openapi/v2", "/openapi/v3", "/openapi/v3/"):
            endpoints[path] = openapi
        endpoints["/"] = PathIndex(endpoints, self.registry)
        return endpoints

    def _live_checks(self) -> dict[str, Check]:
        return {"ping": _fine, "log": _fine, "etcd": self._problem, **self._steps.checks()}

    def _ready_checks(self) -> dict[str, Check]:
        """Upstream's checks of a server that may be sent requests."""
        steps = self._steps.checks()
        return {
            "ping": _fine,
            "log": _fine,
            "etcd": self._problem,
            "etcd-readiness": self._problem,
            "informer-sync": steps[f"poststarthook/{health.CACHES}"],
            **steps,
            "shutdown": lambda: "process is shutting down" if self._closing else "",
        }

    def _problem(self) -> str:
        return self.caches.problem

    def _flow_control(self) -> FlowControl | None:
        """Priority and fairness, unless it is switched off."""
        config = self.config
        if not config.enable_priority_and_fairness:
            return None
        seats = config.max_requests_inflight + config.max_mutating_requests_inflight
        return FlowControl(seats, CachedResources(self.registry, self.caches), self.clock)

    def _stored(self) -> list[ResourceCache]:
        return [self.caches.cache(kind) for kind in self.registry.kinds() if kind.stored]


def _fine() -> str:
    """The check of what works if anything does."""
    return ""


def _read(path: str) -> str:
    """The text of a file; empty where none is named."""
    return Path(path).read_text() if path else ""
