"""The chain of a server: which plugins are on, in which order."""

from collections.abc import Callable, Mapping

from kybern.api.kinds import Registry
from kybern.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kybern.apiserver.admission.default_class import DefaultIngressClass, DefaultStorageClass
from kybern.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kybern.apiserver.admission.limit_ranger import LimitRanger
from kybern.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kybern.apiserver.admission.node_restriction import NodeRestriction
from kybern.apiserver.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from kybern.apiserver.admission.plugin import AdmissionChain, Plugin
from kybern.apiserver.admission.pod_security import PodSecurity
from kybern.apiserver.admission.priority import Priority
from kybern.apiserver.admission.rbac_escalation import RbacEscalation
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
from kybern.component.clock import Clock

# On only where --enable-admission-plugins names them.
OFF_BY_DEFAULT = frozenset({"NodeRestriction"})


def build_chain(
    config: Config,
    lookup: Lookup,
    clock: Clock,
    caches: CacheSet,
    registry: Registry,
    authorizers: Authorizers,
    escalation: EscalationCheck,
) -> AdmissionChain:
    """The chain by flags; raises ValueError for names that no plugin has."""
    makers = _makers(config, lookup, clock, caches, registry, authorizers)
    enabled, disabled = config.enable_admission_plugins, config.disable_admission_plugins
    for name in (*enabled, *disabled):
        if name not in makers:
            raise ValueError(f'unknown admission plugin "{name}"')
    chosen = [
        maker()
        for name, maker in makers.items()
        if name in enabled or (name not in OFF_BY_DEFAULT and name not in disabled)
    ]
    return AdmissionChain([*chosen, RbacEscalation(escalation)])


def _makers(
    config: Config,
    lookup: Lookup,
    clock: Clock,
    caches: CacheSet,
    registry: Registry,
    authorizers: Authorizers,
) -> Mapping[str, Callable[[], Plugin]]:
    return {
        "NamespaceLifecycle": lambda: NamespaceLifecycle(lookup),
        "LimitRanger": lambda: LimitRanger(lookup),
        "ServiceAccount": lambda: ServiceAccount(lookup, clock),
        "NodeRestriction": lambda: NodeRestriction(lookup, authorizers),
        "TaintNodesByCondition": TaintNodesByCondition,
        "PodSecurity": lambda: PodSecurity(lookup),
        "Priority": lambda: Priority(lookup),
        "DefaultTolerationSeconds": lambda: DefaultTolerationSeconds(
            config.default_not_ready_toleration_seconds,
            config.default_unreachable_toleration_seconds,
        ),
        "DefaultStorageClass": lambda: DefaultStorageClass(lookup),
        "StorageObjectInUseProtection": StorageObjectInUseProtection,
        "PersistentVolumeClaimResize": lambda: PersistentVolumeClaimResize(lookup),
        "RuntimeClass": lambda: RuntimeClass(lookup),
        "CertificateApproval": lambda: CertificateApproval(authorizers),
        "CertificateSigning": lambda: CertificateSigning(authorizers),
        "CertificateSubjectRestriction": CertificateSubjectRestriction,
        "DefaultIngressClass": lambda: DefaultIngressClass(lookup),
        "ResourceQuota": lambda: ResourceQuota(lookup, clock, caches, registry),
    }
