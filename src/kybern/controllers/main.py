"""The controller manager: composes the controllers and runs those that are wanted.

Called by ``kybern run controller-manager`` and by in-process clusters. All controllers share one
client and one set of informers. With leader election on, they exist only while the lease
``kube-system/kube-controller-manager`` is held; losing it starts the wait anew.
"""

import asyncio
import logging
import socket

from kybern.client import Client, Informers, LeaderElector
from kybern.client.leader_election import LeadershipLost
from kybern.component.clock import Clock
from kybern.controllers.bootstrap_tokens import BootstrapSigner, TokenCleaner
from kybern.controllers.certificates import (
    CertificateApprover,
    CertificateCleaner,
    CertificateSigner,
)
from kybern.controllers.cluster_trust_bundle_publisher import ClusterTrustBundlePublisher
from kybern.controllers.clusterrole_aggregation import ClusterRoleAggregationController
from kybern.controllers.config import Config
from kybern.controllers.controller import Context, Controller
from kybern.controllers.cronjob import CronJobController
from kybern.controllers.daemonset import DaemonSetController
from kybern.controllers.deployment import DeploymentController
from kybern.controllers.device_taint_eviction import DeviceTaintEvictionController
from kybern.controllers.disruption import DisruptionController
from kybern.controllers.endpoints import EndpointsController
from kybern.controllers.endpointslice import EndpointSliceController
from kybern.controllers.endpointslice_mirroring import EndpointSliceMirroringController
from kybern.controllers.garbage_collector import GarbageCollector
from kybern.controllers.job import JobController
from kybern.controllers.legacy_token_cleaner import LegacyTokenCleaner
from kybern.controllers.namespace import NamespaceController
from kybern.controllers.node_ipam import NodeIpamController
from kybern.controllers.node_lifecycle import NodeLifecycleController
from kybern.controllers.pod_certificate_cleaner import PodCertificateCleaner
from kybern.controllers.pod_gc import PodGarbageCollector
from kybern.controllers.replicaset import ReplicaSetController, ReplicationControllerController
from kybern.controllers.resourceclaim import ResourceClaimController
from kybern.controllers.resourcequota import ResourceQuotaController
from kybern.controllers.root_ca_publisher import RootCaPublisher
from kybern.controllers.service_cidrs import ServiceCidrsController
from kybern.controllers.serviceaccount import ServiceAccountController
from kybern.controllers.serviceaccount_token import ServiceAccountTokenController
from kybern.controllers.statefulset import StatefulSetController
from kybern.controllers.taint_eviction import TaintEvictionController
from kybern.controllers.ttl_after_finished import TtlAfterFinishedController
from kybern.controllers.volumes.attach_detach import AttachDetachController
from kybern.controllers.volumes.binder import PersistentVolumeBinder
from kybern.controllers.volumes.ephemeral import EphemeralVolumeController
from kybern.controllers.volumes.expander import VolumeExpander
from kybern.controllers.volumes.protection import (
    PersistentVolumeClaimProtection,
    PersistentVolumeProtection,
    VolumeAttributesClassProtection,
)

logger = logging.getLogger(__name__)

LEASE_NAME = "kube-controller-manager"

CONTROLLERS: tuple[type[Controller], ...] = (
    NamespaceController,
    ServiceAccountController,
    ServiceAccountTokenController,
    LegacyTokenCleaner,
    TokenCleaner,
    BootstrapSigner,
    ClusterRoleAggregationController,
    RootCaPublisher,
    ClusterTrustBundlePublisher,
    CertificateApprover,
    CertificateSigner,
    CertificateCleaner,
    PodCertificateCleaner,
    NodeIpamController,
    NodeLifecycleController,
    TaintEvictionController,
    DeviceTaintEvictionController,
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
    ServiceCidrsController,
    ReplicationControllerController,
    ReplicaSetController,
    DeploymentController,
    DaemonSetController,
    StatefulSetController,
    JobController,
    CronJobController,
    TtlAfterFinishedController,
    DisruptionController,
    ResourceQuotaController,
    ResourceClaimController,
    PersistentVolumeBinder,
    EphemeralVolumeController,
    AttachDetachController,
    VolumeExpander,
    PersistentVolumeClaimProtection,
    PersistentVolumeProtection,
    VolumeAttributesClassProtection,
    PodGarbageCollector,
    GarbageCollector,
)


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Run the wanted controllers until cancelled."""
    if not config.leader_elect:
        await _run_controllers(client, clock, config)
        return
    identity = f"{socket.gethostname()}_{clock.uid()}"
    while True:
        elector = LeaderElector(client, clock, LEASE_NAME, identity)
        try:
            await elector.run(lambda: _run_controllers(client, clock, config))
        except LeadershipLost as error:
            logger.warning("leadership lost: %s", error)


async def _run_controllers(client: Client, clock: Clock, config: Config) -> None:
    context = Context(client, clock, config, Informers(client))
    try:
        wanted = [
            kind(context)
            for kind in CONTROLLERS
            if is_wanted(kind.name, config)
            and (kind.needs is None or await client.serves(kind.needs))
        ]
        await context.informers.start()
        async with asyncio.TaskGroup() as group:
            for controller in wanted:
                group.create_task(controller.run(), name=controller.name)
    finally:
        await context.close()


def is_wanted(name: str, config: Config) -> bool:
    """Whether ``--controllers`` asks for this one; the first mention counts, then '*'."""
    for item in config.controllers:
        if item == name:
            return True
        if item == f"-{name}":
            return False
    return "*" in config.controllers
