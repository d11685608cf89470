"""The kubelet's configuration file (``--config``): a KubeletConfiguration, v1beta1.

Every field of upstream's is known: most set what a flag sets too, some tune what Kybern has no use
for and change nothing, some have one value here. Any other value, and any field that nobody knows,
is refused, because a node that ignores its settings is worse than one that does not start. What a
flag says wins over the file.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kybern.api import yaml
from kybern.api.errors import Obj
from kybern.component.duration import parse_duration
from kybern.kubelet.cgroups import names as cgroups
from kybern.kubelet.config import EVICTION_HARD, Config
from kybern.kubelet.images import verification

logger = logging.getLogger(__name__)

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"


class ConfigurationError(ValueError):
    """The file cannot be used; the text says where and why."""


def _typed(*kinds: type) -> Callable[[str, Any], Any]:
    def convert(field: str, value: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = kinds[0].__name__
            raise ConfigurationError(f"{field}: expected {wanted}, found {type(value).__name__}")
        return value

    return convert


_text, _number, _switch = _typed(str), _typed(int), _typed(bool)


def _positive(field: str, value: Any) -> int:
    number: int = _number(field, value)
    if number < 1:
        raise ConfigurationError(f"{field} {number} must be a positive number")
    return number


def _duration(field: str, value: Any) -> Any:
    """Seconds; a zero stands for the default, as everywhere in the file."""
    try:
        return parse_duration(_text(field, value)) or None
    except ValueError as error:
        raise ConfigurationError(f"{field}: {error}") from None


def _one_of(*choices: str) -> Callable[[str, Any], Any]:
    def convert(field: str, value: Any) -> Any:
        if value not in choices:
            raise ConfigurationError(f"{field}: {value!r} is none of {', '.join(choices)}")
        return value

    return convert


def _texts(field: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(field, each) for each in _typed(list)(field, value))


def _pairs(sign: str) -> Callable[[str, Any], Any]:
    def convert(field: str, value: Any) -> tuple[str, ...]:
        entries = _typed(dict)(field, value).items()
        return tuple(f"{name}{sign}{_text(f'{field}.{name}', text)}" for name, text in entries)

    return convert


def _gates(field: str, value: Any) -> tuple[str, ...]:
    entries = _typed(dict)(field, value).items()
    return tuple(f"{name}={_switch(f'{field}.{name}', on)}" for name, on in entries)


def _periods(field: str, value: Any) -> tuple[str, ...]:
    periods = _typed(list)(field, value)
    return tuple(f"{p['priority']}={p['shutdownGracePeriodSeconds']}" for p in periods)


def _headers(field: str, value: Any) -> tuple[str, ...]:
    entries = _typed(dict)(field, value).items()
    return tuple(f"{name}:{text}" for name, texts in entries for text in _texts(field, texts))


def _taints(field: str, value: Any) -> tuple[str, ...]:
    taints = _typed(list)(field, value)
    return tuple(f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in taints)


def _reservations(field: str, value: Any) -> tuple[str, ...]:
    found: list[str] = []
    for entry in _typed(list)(field, value):
        number = _number(f"{field}.numaNode", _typed(dict)(field, entry).get("numaNode", 0))
        limits = _pairs("=")(f"{field}.limits", entry.get("limits") or {})
        for limit in limits:
            resource = limit.partition("=")[0]
            if resource != "memory" and not resource.startswith("hugepages-"):
                raise ConfigurationError(
                    f'invalid configuration: the limit type "{resource}" for NUMA node {number} '
                    "is not supported, only [memory hugepages-<HugePageSize>] is accepted"
                )
            found.append(f"{number}:{limit}")
    return tuple(found)


# The flag that each field sets, and how its value is read.
_FLAGS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "address": ("address", _text),
    "allowedUnsafeSysctls": ("allowed_unsafe_sysctls", _texts),
    "cgroupDriver": ("cgroup_driver", _one_of(*cgroups.DRIVERS)),
    "cgroupRoot": ("cgroup_root", _text),
    "clusterDNS": ("cluster_dns", _texts),
    "clusterDomain": ("cluster_domain", _text),
    "configMapAndSecretChangeDetectionStrategy": (
        "change_detection_strategy",
        _one_of("Watch", "Cache", "Get"),
    ),
    "containerLogMaxFiles": ("container_log_max_files", _number),
    "containerLogMaxSize": ("container_log_max_size", _text),
    "containerRuntimeEndpoint": ("container_runtime_endpoint", _text),
    "enforceNodeAllocatable": ("enforce_node_allocatable", _texts),
    "evictionHard": ("eviction_hard", _pairs("<")),
    "evictionMaxPodGracePeriod": ("eviction_max_pod_grace_period", _number),
    "evictionMinimumReclaim": ("eviction_minimum_reclaim", _pairs("=")),
    "evictionPressureTransitionPeriod": ("eviction_pressure_transition_period", _duration),
    "evictionSoft": ("eviction_soft", _pairs("<")),
    "evictionSoftGracePeriod": ("eviction_soft_grace_period", _pairs("=")),
    "imageGCHighThresholdPercent": ("image_gc_high_threshold", _number),
    "imageGCLowThresholdPercent": ("image_gc_low_threshold", _number),
    "imageMaximumGCAge": ("image_maximum_gc_age", _duration),
    "imagePullCredentialsVerificationPolicy": (
        "image_pull_credentials_verification_policy",
        _one_of(*verification.POLICIES),
    ),
    "imageMinimumGCAge": ("minimum_image_ttl_duration", _duration),
    "kernelMemcgNotification": ("kernel_memcg_notification", _switch),
    "kubeReserved": ("kube_reserved", _pairs("=")),
    "maxParallelImagePulls": ("max_parallel_image_pulls", _positive),
    "maxPods": ("max_pods", _number),
    "nodeStatusUpdateFrequency": ("node_status_update_frequency", _duration),
    "preloadedImagesVerificationAllowlist": (
        "preloaded_images_verification_allowlist",
        _texts,
    ),
    "podPidsLimit": ("pod_max_pids", _number),
    "port": ("port", _number),
    "registerNode": ("register_node", _switch),
    "registerWithTaints": ("register_with_taints", _taints),
    "resolvConf": ("resolv_conf", _text),
    "shutdownGracePeriod": ("shutdown_grace_period", _duration),
    "shutdownGracePeriodByPodPriority": ("shutdown_grace_period_by_pod_priority", _periods),
    "shutdownGracePeriodCriticalPods": ("shutdown_grace_period_critical_pods", _duration),
    "rotateCertificates": ("rotate_certificates", _switch),
    "serverTLSBootstrap": ("rotate_server_certificates", _switch),
    "serializeImagePulls": ("serialize_image_pulls", _switch),
    "singleProcessOOMKill": ("single_process_oom_kill", _switch),
    "featureGates": ("feature_gates", _gates),
    "httpCheckFrequency": ("http_check_frequency", _duration),
    "staticPodURL": ("manifest_url", _text),
    "staticPodURLHeader": ("manifest_url_header", _headers),
    "staticPodPath": ("pod_manifest_path", _text),
    "systemReserved": ("system_reserved", _pairs("=")),
    "tlsCertFile": ("tls_cert_file", _text),
    "tlsPrivateKeyFile": ("tls_private_key_file", _text),
    "authentication.anonymous.enabled": ("anonymous_auth", _switch),
    "authentication.x509.clientCAFile": ("client_ca_file", _text),
    "cpuManagerPolicy": ("cpu_manager_policy", _text),
    "cpuManagerPolicyOptions": ("cpu_manager_policy_options", _pairs("=")),
    "cpuManagerReconcilePeriod": ("cpu_manager_reconcile_period", _duration),
    "memoryManagerPolicy": ("memory_manager_policy", _text),
    "reservedMemory": ("reserved_memory", _reservations),
    "topologyManagerPolicy": ("topology_manager_policy", _text),
    "topologyManagerPolicyOptions": ("topology_manager_policy_options", _pairs("=")),
    "topologyManagerScope": ("topology_manager_scope", _text),
    "reservedSystemCPUs": ("reserved_cpus", _text),
    "userNamespaces.idsPerPod": ("user_namespaces_ids_per_pod", _number),
    "crashLoopBackOff.maxContainerRestartPeriod": ("max_container_restart_period", _duration),
}
_NESTED = ("authentication", "authorization", "crashLoopBackOff", "userNamespaces")

# What is done in one way here, and the values that say so.
_FIXED: dict[str, tuple[Any, ...]] = {
    "authentication.webhook.enabled": (True,),
    "authorization.mode": ("Webhook",),
    "cgroupsPerQOS": (True,),
    "cpuCFSQuota": (True,),
    "enableControllerAttachDetach": (True,),
    "enableServer": (True,),
    "failCgroupV1": (False,),
    "failSwapOn": (False,),
    "hairpinMode": ("hairpin-veth", "promiscuous-bridge"),
    "localStorageCapacityIsolation": (True,),
    "memorySwap": ({}, {"swapBehavior": "NoSwap"}),
    "nodeLeaseDurationSeconds": (40,),
    "podsPerCore": (0,),
    "protectKernelDefaults": (False,),
    "readOnlyPort": (0,),
    "runOnce": (False,),
    "seccompDefault": (False,),
}
# Speeds, sizes and handlers of upstream's own machinery.
_TUNING = """
    authentication.webhook.cacheTTL authorization.webhook.cacheAuthorizedTTL
    authorization.webhook.cacheUnauthorizedTTL containerLogMaxWorkers containerLogMonitorInterval
    contentType cpuCFSQuotaPeriod enableContentionProfiling
    enableDebugFlagsHandler enableDebuggingHandlers enableProfilingHandler enableSystemLogHandler
    enableSystemLogQuery eventBurst eventRecordQPS fileCheckFrequency healthzBindAddress healthzPort
    imageServiceEndpoint iptablesDropBit iptablesMasqueradeBit kubeAPIBurst
    kubeAPIQPS logging makeIPTablesUtilChains maxOpenFiles memoryThrottlingFactor
    mergeDefaultEvictionSettings nodeStatusMaxImages
    nodeStatusReportFrequency oomScoreAdj registryBurst registryPullQPS runtimeRequestTimeout
    showHiddenMetricsForVersion streamingConnectionIdleTimeout syncFrequency tracing
    volumePluginDir volumeStatsAggPeriod
"""
_WITHOUT_EFFECT = frozenset(_TUNING.split())
_MISSING = """
    kubeReservedCgroup kubeletCgroups memoryReservationPolicy podCIDR
    podLogsDir providerID qosReserved
    systemCgroups systemReservedCgroup tlsCipherSuites tlsCurvePreferences tlsMinVersion
"""
_REFUSED = frozenset(_MISSING.split())


def apply(config: Config, text: bytes) -> Config:
    """The configuration with what the file sets and no flag does; raises ConfigurationError."""
    found = settings(text)
    # A flag has the last word on the gates that it names, and none on the others.
    gates = (*(found.pop("feature_gates", None) or ()), *config.feature_gates)
    values = {
        name: value
        for name, value in found.items()
        if name not in config.given and value is not None
    }
    changed = replace(config, **values, feature_gates=gates)
    try:
        changed.gates()
        changed.parallel_pulls()
        changed.thresholds()
        verification.make_policy(
            changed.image_pull_credentials_verification_policy,
            changed.preloaded_images_verification_allowlist,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return changed


def settings(text: bytes) -> dict[str, Any]:
    """What the file sets, by the names of the flags; None stands for the default."""
    try:
        document, duplicates = yaml.load_with_duplicates(text)
    except yaml.YamlError as error:
        raise ConfigurationError(f"failed to decode: {error}") from None
    if not isinstance(document, dict):
        raise ConfigurationError("failed to decode: expected a mapping")
    found = (document.get("apiVersion"), document.get("kind"))
    if found != (API_VERSION, KIND):
        raise ConfigurationError(f'no kind "{found[1]}" is registered for version "{found[0]}"')
    fields = dict(_flat({k: v for k, v in document.items() if k not in ("apiVersion", "kind")}))
    unknown = [f'unknown field "{name}"' for name in fields if not _is_known(name)]
    if unknown or duplicates:
        raise ConfigurationError(f"strict decoding error: {', '.join([*duplicates, *unknown])}")
    values = {}
    for name, value in fields.items():
        if name in _FLAGS:
            flag, convert = _FLAGS[name]
            values[flag] = convert(name, value)
        elif name in _REFUSED or (name in _FIXED and value not in _FIXED[name]):
            raise ConfigurationError(f"{name}: {value!r} is not supported")
        elif name in _WITHOUT_EFFECT:
            logger.info("%s in the configuration file has no effect", name)
    if fields.get("mergeDefaultEvictionSettings") and "eviction_hard" in values:
        mine = {entry.partition("<")[0] for entry in values["eviction_hard"]}
        kept = tuple(entry for entry in EVICTION_HARD if entry.partition("<")[0] not in mine)
        values["eviction_hard"] += kept
    return values


def _is_known(name: str) -> bool:
    return name in _FLAGS or name in _FIXED or name in _WITHOUT_EFFECT or name in _REFUSED


def _flat(document: Obj, prefix: str = "") -> list[tuple[str, Any]]:
    """The fields by their paths; the few that hold others are looked into."""
    found = []
    for name, value in document.items():
        path = f"{prefix}{name}"
        if value is None:
            continue
        if isinstance(value, dict) and path.partition(".")[0] in _NESTED:
            found += _flat(value, f"{path}.")
        else:
            found.append((path, value))
    return found
