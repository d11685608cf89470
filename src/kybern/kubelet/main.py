"""Puts one node's parts together and runs them until cancelled.

Nothing of a pod ends with the kubelet: on cancellation the workers stop working, containers live
on, and the next kubelet adopts them from the runtime.
"""

import asyncio
import logging
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS, SERVICES
from kybern.client.client import Client
from kybern.client.events import EventRecorder
from kybern.client.informer import Informers
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.component.feature_gates import FeatureGates
from kybern.kubelet import configuration
from kybern.kubelet.admission.allocations import Allocations
from kybern.kubelet.admission.gate import Admission
from kybern.kubelet.admission.predicates import without_app_armor
from kybern.kubelet.admission.sysctls import SysctlAllowlist
from kybern.kubelet.certificates.client import connect as connect
from kybern.kubelet.certificates.client import prepare_client_certificate
from kybern.kubelet.certificates.serving import serving_manager
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.config import Config
from kybern.kubelet.cpus.manager import make_cpu_manager
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.cri.state import StateReader
from kybern.kubelet.devices.claim_drivers import PLUGIN_TYPE as CLAIM_DRIVER
from kybern.kubelet.devices.claim_drivers import ClaimDrivers
from kybern.kubelet.devices.claims import Claims
from kybern.kubelet.devices.manager import DeviceManager
from kybern.kubelet.devices.plugins import Plugins
from kybern.kubelet.devices.slices import Slices
from kybern.kubelet.guards import Guards
from kybern.kubelet.images.lookup import make_lookup
from kybern.kubelet.images.puller import Puller
from kybern.kubelet.images.records import PullRecords
from kybern.kubelet.images.verification import make_policy
from kybern.kubelet.lifecycle import Hooks
from kybern.kubelet.memory.manager import make_memory_manager
from kybern.kubelet.network_files import ClusterDns
from kybern.kubelet.node.enforcement import bounds_of_all_pods, enforce
from kybern.kubelet.node.lease import NodeLease
from kybern.kubelet.node.machine import default_address, has_app_armor, read_machine
from kybern.kubelet.node.registration import NodeRegistration, new_node
from kybern.kubelet.node.status import allocatable
from kybern.kubelet.objects import Objects
from kybern.kubelet.parts import NodeFacts, Parts, Recorder
from kybern.kubelet.paths import Paths
from kybern.kubelet.plugins.registry import Handler, PluginRegistry
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.backoff import Backoff
from kybern.kubelet.pods.pleg import Pleg
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.probes.checks import Checks
from kybern.kubelet.probes.manager import ProbeManager
from kybern.kubelet.server.server import NodeServer
from kybern.kubelet.sources.manifests import Manifests
from kybern.kubelet.sources.references import ApiObjects
from kybern.kubelet.sources.static_pods import StaticPods, is_mirror
from kybern.kubelet.status.manager import StatusManager
from kybern.kubelet.topology.manager import make_topology_manager
from kybern.kubelet.user_namespaces import make_user_namespaces
from kybern.kubelet.volumes.csi.drivers import Drivers
from kybern.kubelet.volumes.csi.node_info import NodeInfo
from kybern.kubelet.volumes.image import ImageVolumes
from kybern.kubelet.volumes.kinds import make_plugins
from kybern.kubelet.volumes.manager import VolumeManager
from kybern.kubelet.volumes.payloads import Payloads, PodCredentials, TrustAnchors
from kybern.kubelet.volumes.persistent import PersistentVolumes
from kybern.kubelet.volumes.tokens import Tokens

if TYPE_CHECKING:
    from kybern.kubelet.pod_certificates.manager import PodCertificates
    from kybern.kubelet.sources.manifest_url import ManifestUrl
    from kybern.kubelet.volumes.trust_bundles import TrustBundles

logger = logging.getLogger(__name__)

CRASH_INITIAL_SECONDS = 10.0
ORPHAN_SECONDS = 5.0


def node_name(config: Config) -> str:
    return (config.hostname_override or platform.node()).strip().lower()


def crash_backoff(config: Config) -> Backoff:
    """The pauses of crashing containers: doubling, and never longer than the node allows."""
    longest = config.max_container_restart_period
    return Backoff(min(CRASH_INITIAL_SECONDS, longest), longest)


def make_parts(
    config: Config,
    clock: Clock,
    facts: NodeFacts,
    objects: Objects,
    status: StatusManager,
    recorder: Recorder,
    drivers: Drivers | None = None,
    bundles: TrustAnchors | None = None,
    certificates: PodCredentials | None = None,
) -> Parts:
    """The parts that pod workers use, for this configuration.

    What is None is not served: CSI, and what feature gates switch on.
    """
    runtime = Runtime(config.container_runtime_endpoint)
    checks = Checks(runtime)
    paths = Paths(Path(config.root_dir))
    tokens = Tokens(objects, clock)

    plugins = make_plugins(paths, objects, tokens, clock, facts.name, drivers)
    persistent = PersistentVolumes(objects, paths, plugins, recorder.event)

    def report(pod: Obj, container: str, type: str, reason: str, message: str) -> None:
        path = spec.field_path(pod, container)
        recorder.event(pod, type, reason, message, field_path=path)

    allocations = Allocations(paths)
    allocations.load()
    cgroups = Cgroups(
        config.cgroup_root,
        driver=config.cgroup_driver,
        ask=runtime.cgroup_driver,
        max_pids=config.pod_max_pids,
        single_oom_kill=config.single_process_oom_kill,
    )
    admission = Admission(
        allocations, lambda: facts.node, lambda: facts.allocatable, clock, recorder.event
    )
    must_check = make_policy(
        config.image_pull_credentials_verification_policy,
        config.preloaded_images_verification_allowlist,
    )
    records = PullRecords(paths.root / "image_manager", clock, must_check)
    lookup = make_lookup(config, paths, objects, tokens, clock)
    puller = Puller(runtime, clock, config.parallel_pulls(), records, lookup)
    devices = DeviceManager(Plugins(paths.device_plugins), paths)
    devices.load()
    cpus = make_cpu_manager(config, runtime)
    memory = make_memory_manager(config)
    topology = make_topology_manager(config, (devices, cpus, memory), clock)
    devices.plugins.numa_nodes = topology.nodes
    admission.reserves.append(topology.give)
    admission.resize_judges += [cpus.judge_resize, memory.judge_resize]
    admission.pinned = cpus.pinned
    claims = Claims(objects, ClaimDrivers(), runtime, paths.root, clock)
    claims.load()
    if not has_app_armor():
        admission.judges.append(without_app_armor)
    admission.judges.append(SysctlAllowlist(config.allowed_unsafe_sysctls).judge)
    return Parts(
        clock=clock,
        facts=facts,
        runtime=runtime,
        reader=StateReader(runtime, cgroups),
        paths=paths,
        cgroups=cgroups,
        volumes=VolumeManager(
            paths,
            Payloads(objects, tokens, bundles, certificates),
            persistent,
            ImageVolumes(runtime, puller, objects),
            recorder.event,
        ),
        tokens=tokens,
        objects=objects,
        puller=puller,
        probes=ProbeManager(checks, clock, report),
        hooks=Hooks(runtime, checks),
        status=status,
        recorder=recorder,
        dns=ClusterDns(config.cluster_dns, config.cluster_domain, config.resolv_conf),
        crash_backoff=crash_backoff(config),
        admission=admission,
        devices=devices,
        claims=claims,
        cpus=cpus,
        memory=memory,
        user_namespaces=make_user_namespaces(config, paths, runtime),
        seccomp_root=f"{config.root_dir}/seccomp",
    )


def gated_sources(
    gates: FeatureGates, client: Client, clock: Clock, facts: NodeFacts, recorder: Recorder
) -> "tuple[TrustBundles | None, PodCertificates | None]":
    """The sources of projected volumes that feature gates switch on."""
    bundles = certificates = None
    if gates.enabled("ClusterTrustBundleProjection"):
        from kybern.kubelet.volumes.trust_bundles import TrustBundles

        bundles = TrustBundles(client, clock)
    if gates.enabled("PodCertificateRequest"):
        from kybern.kubelet.pod_certificates.manager import PodCertificates

        certificates = PodCertificates(client, clock, lambda: facts.node, recorder.event)
    return bundles, certificates


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Be the kubelet of this node until cancelled."""
    if config.config:
        text = await asyncio.to_thread(Path(config.config).read_bytes)
        config = configuration.apply(config, text)
    gates = config.gates()
    root = Path(config.root_dir)
    await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
    machine = await asyncio.to_thread(read_machine, root)
    name = node_name(config)
    identity = await prepare_client_certificate(client, clock, config, name)
    facts = NodeFacts(
        name,
        config.node_ip or (default_address(),),
        allocatable(machine, config, config.thresholds()),
        machine.memory_bytes,
        tuple(machine.huge_pages),
        node=new_node(name, config, machine.architecture),
    )
    informers = Informers(client)
    pods = informers.informer(PODS, field_selector=f"spec.nodeName={name}")
    services = informers.informer(SERVICES)
    recorder = EventRecorder(client, clock, "kubelet", name)
    status = StatusManager(client)
    drivers = Drivers(NodeInfo(client, name))
    served = ApiObjects(
        client, services, clock, config.change_detection_strategy, lambda: facts.node
    )
    bundles, certificates = gated_sources(gates, client, clock, facts, recorder)
    parts = make_parts(
        config, clock, facts, served, status, recorder, drivers, bundles, certificates
    )
    workers = PodWorkers(parts)
    parts.probes.on_change = workers.wake
    parts.admission.on_change = workers.wake
    served.watches.on_change = workers.wake
    for source in (bundles, certificates):
        if source is not None:
            source.on_change = workers.wake
    pleg = Pleg(parts.runtime, workers.wake)
    registration = NodeRegistration(
        client, clock, config, facts, machine, parts.runtime, parts.cgroups, pleg.healthy, recorder
    )
    parts.admission.refresh = registration.refresh
    guards = Guards(parts, workers, registration, config)
    plugins = parts.devices.plugins
    registration.offers = plugins.offers

    def offers_changed() -> None:
        registration.wake()
        for uid in parts.devices.users():
            workers.wake(uid)

    plugins.on_change = offers_changed
    parts.claims.on_change = workers.wake
    slices = Slices(client, name)
    parts.claims.drivers.on_reach = slices.told
    manifests = Manifests(config.pod_manifest_path, name)
    url = _manifest_url(config, name)
    others = (lambda: url.pods) if url is not None else list
    static = StaticPods(manifests, workers, status, client, facts, clock, others)
    server = NodeServer(config, client, clock, parts, workers)
    limits = bounds_of_all_pods(machine, config)
    try:
        await parts.volumes.sweep()
        registration.port = await server.start()
        await plugins.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(pleg.run())
            group.create_task(served.watches.run())
            if identity is not None:
                group.create_task(identity.run())
            group.create_task(enforce(limits, parts.cgroups, facts, recorder))
            # These do not wait for an API server: it may be one of them.
            await static.look()
            group.create_task(static.run())
            if url is not None:
                group.create_task(url.run())
            group.create_task(registration.run())
            await registration.registered.wait()
            if config.rotate_server_certificates:
                group.create_task(serving_manager(client, clock, config, facts).run())
            lease = NodeLease(client, clock, name)
            lease.node_uid = ((registration.node or {}).get("metadata") or {}).get("uid", "")
            group.create_task(lease.run())
            # The services come first: containers get variables for them.
            await informers.start()
            pods.on_change(lambda old, new: _hand_on(workers, static, old, new))
            group.create_task(slices.begin())
            group.create_task(_serve_plugins(drivers, parts.claims.drivers, root))
            group.create_task(_adopt_orphans(parts, pleg, workers, url))
            group.create_task(parts.admission.run())
            group.create_task(guards.run())
            group.create_task(parts.cpus.run())
    finally:
        await informers.stop()
        await workers.close()
        for source in (bundles, certificates):
            if source is not None:
                await source.close()
        await plugins.close()
        await parts.probes.close()
        await status.close()
        await server.close()
        await recorder.close()
        await drivers.close()
        await parts.claims.drivers.close()
        await slices.close()
        await parts.runtime.close()
        parts.cgroups.close()


async def _serve_plugins(drivers: Drivers, claim_drivers: ClaimDrivers, root: Path) -> None:
    """Take plugins that register, once the cluster knows that the node can."""
    while True:
        try:
            await drivers.prepare()
            break
        except (StatusError, ApiUnreachable) as error:
            logger.warning("the CSINode is not there yet: %s", error)
            await asyncio.sleep(ORPHAN_SECONDS)
    handlers: dict[str, Handler] = {"CSIPlugin": drivers, CLAIM_DRIVER: claim_drivers}
    await PluginRegistry(root / "plugins_registry", handlers).run()


def _hand_on(workers: PodWorkers, static: StaticPods, old: Obj | None, new: Obj | None) -> None:
    """The informer's news for the workers. A name that another pod has taken ends the old one."""
    if is_mirror(new or old or {}):
        static.mirror_changed(old, new)
        return
    if old is not None and (new is None or spec.uid(new) != spec.uid(old)):
        workers.remove(spec.uid(old))
    if new is not None:
        workers.update(new)


def _manifest_url(config: Config, name: str) -> "ManifestUrl | None":
    if not config.manifest_url:
        return None
    from kybern.kubelet.sources.manifest_url import ManifestUrl

    headers, seconds = config.manifest_url_header, config.http_check_frequency
    return ManifestUrl(config.manifest_url, headers, seconds, name)


async def _adopt_orphans(
    parts: Parts, pleg: Pleg, workers: PodWorkers, url: "ManifestUrl | None"
) -> None:
    """End what is left of pods that were deleted while no kubelet was looking."""
    if url is not None:
        # Until it has answered, nobody knows which pods are its own.
        await url.seen.wait()
    while True:
        on_disk = await asyncio.to_thread(parts.paths.known_pods)
        in_cgroups = await asyncio.to_thread(parts.cgroups.pods)
        workers.adopt_orphans(
            pleg.pods | on_disk | in_cgroups | parts.cpus.pods() | parts.memory.pods()
        )
        await asyncio.sleep(ORPHAN_SECONDS)
