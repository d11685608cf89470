"""The chain of a server: which plugins are on, in which order."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.api.kinds import Registry
from kybern.apiserver.admission.always import AlwaysAdmit, AlwaysDeny
from kybern.apiserver.admission.always_pull_images import AlwaysPullImages
from kybern.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from kybern.apiserver.admission.configuration import read_configurations
from kybern.apiserver.admission.default_class import DefaultIngressClass, DefaultStorageClass
from kybern.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kybern.apiserver.admission.deny_service_external_ips import DenyServiceExternalIPs
from kybern.apiserver.admission.disabled_projections import DisabledProjections
from kybern.apiserver.admission.event_rate_limit import EventRateLimit
from kybern.apiserver.admission.extended_resource_toleration import ExtendedResourceToleration
from kybern.apiserver.admission.limit_pod_hard_anti_affinity_topology import (
    LimitPodHardAntiAffinityTopology,
)
from kybern.apiserver.admission.limit_ranger import LimitRanger
from kybern.apiserver.admission.namespace_auto_provision import NamespaceAutoProvision
from kybern.apiserver.admission.namespace_exists import NamespaceExists
from kybern.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kybern.apiserver.admission.node_declared_features import NodeDeclaredFeatureValidator
from kybern.apiserver.admission.node_restriction import NodeRestriction
from kybern.apiserver.admission.owner_references_permission_enforcement import (
    OwnerReferencesPermissionEnforcement,
)
from kybern.apiserver.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from kybern.apiserver.admission.plugin import AdmissionChain, Plugin
from kybern.apiserver.admission.pod_certificate_signing import PodCertificateSigning
from kybern.apiserver.admission.pod_node_selector import PodNodeSelector
from kybern.apiserver.admission.pod_resize_validator import PodResizeValidator
from kybern.apiserver.admission.pod_security import PodSecurity
from kybern.apiserver.admission.pod_toleration_restriction import PodTolerationRestriction
from kybern.apiserver.admission.pod_topology_labels import PodTopologyLabels
from kybern.apiserver.admission.priority import Priority
from kybern.apiserver.admission.rbac_escalation import RbacEscalation
from kybern.apiserver.admission.resource_claims import AdministrativeDevices, ResourceClaimStatus
from kybern.apiserver.admission.resource_quota import ResourceQuota
from kybern.apiserver.admission.runtime_class import RuntimeClass
from kybern.apiserver.admission.service_account import ServiceAccount
from kybern.apiserver.admission.storage_object_in_use_protection import (
    StorageObjectInUseProtection,
)
from kybern.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.escalation import EscalationCheck
from kybern.apiserver.cache import CacheSet
from kybern.apiserver.config import Config
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback
from kybern.component.clock import Clock
from kybern.component.flags import BadFlag

# On only where --enable-admission-plugins names them.
OFF_BY_DEFAULT = frozenset(
    {
        "AlwaysAdmit",
        "AlwaysDeny",
        "AlwaysPullImages",
        "DenyServiceExternalIPs",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "LimitPodHardAntiAffinityTopology",
        "NamespaceAutoProvision",
        "NamespaceExists",
        "NodeRestriction",
        "OwnerReferencesPermissionEnforcement",
        "PodNodeSelector",
        "PodTolerationRestriction",
    }
)


@dataclass
class Surroundings:
    """What plugins are made of; ``configurations`` is their file, by plugin.

    ``gates`` are the feature gates that are on.
    """

    config: Config
    lookup: Lookup
    clock: Clock
    caches: CacheSet
    registry: Registry
    authorizers: Authorizers
    loopback: Loopback
    gates: Collection[str]

    def __post_init__(self) -> None:
        self.configurations = read_configurations(self.config.admission_control_config_file)

    def configuration(self, plugin: str) -> Obj:
        return self.configurations.get(plugin, {})


def build_chain(around: Surroundings, escalation: EscalationCheck) -> AdmissionChain:
    """The chain by flags; raises ValueError for names that no plugin has."""
    makers = _makers(around)
    enabled = around.config.enable_admission_plugins
    disabled = around.config.disable_admission_plugins
    for flag, names in (("enable", enabled), ("disable", disabled)):
        for name in names:
            if name not in makers:
                raise BadFlag(f'{flag}-admission-plugins plugin "{name}" is unknown')
    both = [name for name in enabled if name in disabled]
    if both:
        raise BadFlag(
            f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins "
            "overlapped"
        )
    chosen = [
        maker()
        for name, maker in makers.items()
        if name in enabled or (name not in OFF_BY_DEFAULT and name not in disabled)
    ]
    always = [
        DisabledProjections(around.gates),
        RbacEscalation(escalation),
        AdministrativeDevices(around.lookup),
        ResourceClaimStatus(around.authorizers),
        PodCertificateSigning(around.authorizers, around.clock),
    ]
    return AdmissionChain([*chosen, *always], around.clock)


def _makers(around: Surroundings) -> dict[str, Callable[[], Plugin]]:
    """How each plugin is made, in the order in which they are asked."""
    config, lookup, clock = around.config, around.lookup, around.clock
    authorizers, registry, told = around.authorizers, around.registry, around.configuration
    return {
        "AlwaysAdmit": AlwaysAdmit,
        "NamespaceAutoProvision": lambda: NamespaceAutoProvision(lookup, around.loopback),
        "NamespaceLifecycle": lambda: NamespaceLifecycle(lookup),
        "NamespaceExists": lambda: NamespaceExists(lookup),
        "LimitPodHardAntiAffinityTopology": LimitPodHardAntiAffinityTopology,
        "LimitRanger": lambda: LimitRanger(lookup),
        "ServiceAccount": lambda: ServiceAccount(lookup, clock),
        "NodeRestriction": lambda: NodeRestriction(lookup, authorizers),
        "TaintNodesByCondition": TaintNodesByCondition,
        "AlwaysPullImages": AlwaysPullImages,
        "PodSecurity": lambda: PodSecurity(told("PodSecurity"), lookup),
        "PodNodeSelector": lambda: PodNodeSelector(told("PodNodeSelector"), lookup),
        "Priority": lambda: Priority(lookup),
        "DefaultTolerationSeconds": lambda: DefaultTolerationSeconds(
            config.default_not_ready_toleration_seconds,
            config.default_unreachable_toleration_seconds,
        ),
        "PodTolerationRestriction": lambda: PodTolerationRestriction(
            told("PodTolerationRestriction"), lookup
        ),
        "EventRateLimit": lambda: EventRateLimit(told("EventRateLimit"), clock),
        "ExtendedResourceToleration": ExtendedResourceToleration,
        "DefaultStorageClass": lambda: DefaultStorageClass(lookup),
        "StorageObjectInUseProtection": StorageObjectInUseProtection,
        "OwnerReferencesPermissionEnforcement": lambda: OwnerReferencesPermissionEnforcement(
            authorizers, registry
        ),
        "PersistentVolumeClaimResize": lambda: PersistentVolumeClaimResize(lookup),
        "RuntimeClass": lambda: RuntimeClass(lookup),
        "CertificateApproval": lambda: CertificateApproval(authorizers),
        "CertificateSigning": lambda: CertificateSigning(authorizers),
        "ClusterTrustBundleAttest": lambda: ClusterTrustBundleAttest(authorizers),
        "CertificateSubjectRestriction": CertificateSubjectRestriction,
        "DefaultIngressClass": lambda: DefaultIngressClass(lookup),
        "DenyServiceExternalIPs": DenyServiceExternalIPs,
        "PodTopologyLabels": lambda: PodTopologyLabels(lookup),
        "NodeDeclaredFeatureValidator": lambda: NodeDeclaredFeatureValidator(lookup),
        "PodResizeValidator": lambda: PodResizeValidator(lookup),
        "ResourceQuota": lambda: ResourceQuota(
            told("ResourceQuota"), lookup, clock, around.caches, registry
        ),
        "AlwaysDeny": AlwaysDeny,
    }
