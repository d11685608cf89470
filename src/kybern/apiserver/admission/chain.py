"""The chain of a server: which plugins are on, in which order."""

from collections.abc import Callable, Iterable, Mapping

from kybern.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kybern.apiserver.admission.default_class import DefaultIngressClass, DefaultStorageClass
from kybern.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kybern.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kybern.apiserver.admission.node_restriction import NodeRestriction
from kybern.apiserver.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from kybern.apiserver.admission.plugin import AdmissionChain, Plugin
from kybern.apiserver.admission.priority import Priority
from kybern.apiserver.admission.rbac_escalation import RbacEscalation
from kybern.apiserver.admission.runtime_class import RuntimeClass
from kybern.apiserver.admission.service_account import ServiceAccount
from kybern.apiserver.admission.storage_object_in_use_protection import (
    StorageObjectInUseProtection,
)
from kybern.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.escalation import EscalationCheck
from kybern.apiserver.lookup import Lookup
from kybern.component.clock import Clock

# On only where --enable-admission-plugins names them.
OFF_BY_DEFAULT = frozenset({"NodeRestriction"})


def build_chain(
    lookup: Lookup,
    clock: Clock,
    authorizers: Authorizers,
    escalation: EscalationCheck,
    *,
    enabled: Iterable[str] = (),
    disabled: Iterable[str] = (),
) -> AdmissionChain:
    """The chain by flags; raises ValueError for names that no plugin has."""
    makers = _makers(lookup, clock, authorizers)
    enabled, disabled = list(enabled), list(disabled)
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
    lookup: Lookup, clock: Clock, authorizers: Authorizers
) -> Mapping[str, Callable[[], Plugin]]:
    return {
        "NamespaceLifecycle": lambda: NamespaceLifecycle(lookup),
        "ServiceAccount": lambda: ServiceAccount(lookup, clock),
        "NodeRestriction": lambda: NodeRestriction(lookup, authorizers),
        "TaintNodesByCondition": TaintNodesByCondition,
        "Priority": lambda: Priority(lookup),
        "DefaultTolerationSeconds": DefaultTolerationSeconds,
        "DefaultStorageClass": lambda: DefaultStorageClass(lookup),
        "StorageObjectInUseProtection": StorageObjectInUseProtection,
        "PersistentVolumeClaimResize": lambda: PersistentVolumeClaimResize(lookup),
        "RuntimeClass": lambda: RuntimeClass(lookup),
        "CertificateApproval": lambda: CertificateApproval(authorizers),
        "CertificateSigning": lambda: CertificateSigning(authorizers),
        "CertificateSubjectRestriction": CertificateSubjectRestriction,
        "DefaultIngressClass": lambda: DefaultIngressClass(lookup),
    }
