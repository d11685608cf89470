"""The list of built-in kinds, which is what a server knows when it starts."""

from collections.abc import Callable, Iterator

from kybern.api.kinds.admissionregistration.policies import (
    MUTATING_ADMISSION_POLICY,
    MUTATING_ADMISSION_POLICY_BINDING,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
)
from kybern.api.kinds.admissionregistration.webhooks import (
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
)
from kybern.api.kinds.apiextensions import CUSTOM_RESOURCE_DEFINITION
from kybern.api.kinds.apiregistration import API_SERVICE
from kybern.api.kinds.apiserverinternal import STORAGE_VERSION
from kybern.api.kinds.apps.controllerrevision import CONTROLLER_REVISION
from kybern.api.kinds.apps.daemonset import DAEMON_SET
from kybern.api.kinds.apps.deployment import DEPLOYMENT
from kybern.api.kinds.apps.replicaset import REPLICA_SET
from kybern.api.kinds.apps.statefulset import STATEFUL_SET
from kybern.api.kinds.authentication import SELF_SUBJECT_REVIEW, TOKEN_REVIEW
from kybern.api.kinds.authorization import (
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
)
from kybern.api.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALER
from kybern.api.kinds.batch.cronjob import CRON_JOB
from kybern.api.kinds.batch.job import JOB
from kybern.api.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUEST
from kybern.api.kinds.certificates.clustertrustbundle import CLUSTER_TRUST_BUNDLE
from kybern.api.kinds.certificates.podcertificaterequest import POD_CERTIFICATE_REQUEST
from kybern.api.kinds.coordination import LEASE, LEASE_CANDIDATE
from kybern.api.kinds.core.binding import BINDING
from kybern.api.kinds.core.componentstatus import COMPONENT_STATUS
from kybern.api.kinds.core.configmap import CONFIG_MAP
from kybern.api.kinds.core.endpoints import ENDPOINTS
from kybern.api.kinds.core.event import EVENT
from kybern.api.kinds.core.limitrange import LIMIT_RANGE
from kybern.api.kinds.core.namespace import NAMESPACE
from kybern.api.kinds.core.node import NODE
from kybern.api.kinds.core.persistentvolume import PERSISTENT_VOLUME
from kybern.api.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from kybern.api.kinds.core.pod import POD
from kybern.api.kinds.core.podtemplate import POD_TEMPLATE
from kybern.api.kinds.core.replicationcontroller import REPLICATION_CONTROLLER
from kybern.api.kinds.core.resourcequota import RESOURCE_QUOTA
from kybern.api.kinds.core.secret import SECRET
from kybern.api.kinds.core.service import SERVICE
from kybern.api.kinds.core.serviceaccount import SERVICE_ACCOUNT
from kybern.api.kinds.devicetaintrule import DEVICE_TAINT_RULE
from kybern.api.kinds.discovery import ENDPOINT_SLICE
from kybern.api.kinds.flowcontrol import FLOW_SCHEMA, PRIORITY_LEVEL_CONFIGURATION
from kybern.api.kinds.kind import Kind
from kybern.api.kinds.networking.ingress import INGRESS
from kybern.api.kinds.networking.ingressclass import INGRESS_CLASS
from kybern.api.kinds.networking.ipaddress import IP_ADDRESS
from kybern.api.kinds.networking.networkpolicy import NETWORK_POLICY
from kybern.api.kinds.networking.servicecidr import SERVICE_CIDR
from kybern.api.kinds.node import RUNTIME_CLASS
from kybern.api.kinds.policy import POD_DISRUPTION_BUDGET
from kybern.api.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from kybern.api.kinds.registry import Registry
from kybern.api.kinds.resource import (
    DEVICE_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_CLAIM_TEMPLATE,
    RESOURCE_SLICE,
)
from kybern.api.kinds.scheduling import PRIORITY_CLASS
from kybern.api.kinds.storage.csi import CSI_DRIVER, CSI_NODE, CSI_STORAGE_CAPACITY
from kybern.api.kinds.storage.storageclass import STORAGE_CLASS, VOLUME_ATTRIBUTES_CLASS
from kybern.api.kinds.storage.volumeattachment import VOLUME_ATTACHMENT

KINDS: tuple[Kind, ...] = (
    MUTATING_ADMISSION_POLICY,
    MUTATING_ADMISSION_POLICY_BINDING,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
    CUSTOM_RESOURCE_DEFINITION,
    API_SERVICE,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    HORIZONTAL_POD_AUTOSCALER,
    CRON_JOB,
    JOB,
    CERTIFICATE_SIGNING_REQUEST,
    CLUSTER_TRUST_BUNDLE,
    POD_CERTIFICATE_REQUEST,
    LEASE,
    LEASE_CANDIDATE,
    STORAGE_VERSION,
    BINDING,
    COMPONENT_STATUS,
    CONFIG_MAP,
    ENDPOINTS,
    EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_TEMPLATE,
    REPLICATION_CONTROLLER,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    ENDPOINT_SLICE,
    FLOW_SCHEMA,
    PRIORITY_LEVEL_CONFIGURATION,
    INGRESS,
    INGRESS_CLASS,
    IP_ADDRESS,
    NETWORK_POLICY,
    SERVICE_CIDR,
    RUNTIME_CLASS,
    POD_DISRUPTION_BUDGET,
    CLUSTER_ROLE_BINDING,
    CLUSTER_ROLE,
    ROLE_BINDING,
    ROLE,
    DEVICE_CLASS,
    DEVICE_TAINT_RULE,
    RESOURCE_CLAIM,
    RESOURCE_CLAIM_TEMPLATE,
    RESOURCE_SLICE,
    PRIORITY_CLASS,
    CSI_DRIVER,
    CSI_NODE,
    CSI_STORAGE_CAPACITY,
    STORAGE_CLASS,
    VOLUME_ATTRIBUTES_CLASS,
    VOLUME_ATTACHMENT,
)


def is_stable(group: str, version: str, plural: str) -> bool:
    """Whether a version is served without being switched on."""
    return "alpha" not in version and "beta" not in version


def builtin_registry(serves: Callable[[str, str, str], bool] = is_stable) -> Registry:
    """A registry of its own with every built-in kind, under the versions that are to be served."""
    registry = Registry()
    for kind in KINDS:
        served = [
            entry for entry in kind.served() if serves(entry.group, entry.version, kind.plural)
        ]
        if served:
            registry.add(kind, served)
    return registry


def group_versions() -> Iterator[tuple[str, str]]:
    """Every group and version that built-in kinds have, served or not."""
    for kind in KINDS:
        for entry in kind.served():
            yield entry.group, entry.version
