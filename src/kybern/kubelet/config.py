"""The kubelet's flags, spelt as upstream's."""

from dataclasses import dataclass
from pathlib import Path

from kybern.api.quantity import Quantity
from kybern.component.duration import Duration
from kybern.component.feature_gates import FeatureGates, switches_help
from kybern.component.flags import BadFlag, flag
from kybern.kubelet.cpus.cpuset import Cpus
from kybern.kubelet.cpus.cpuset import parse as parse_cpus
from kybern.kubelet.eviction.thresholds import Threshold, parse_thresholds

# The gates that a kubelet can switch.
SWITCHABLE_GATES = (
    "ClusterTrustBundle",
    "ClusterTrustBundleProjection",
    "PodCertificateRequest",
)
EVICTION_HARD = (
    "memory.available<100Mi",
    "nodefs.available<10%",
    "nodefs.inodesFree<5%",
    "imagefs.available<15%",
    "imagefs.inodesFree<5%",
)


@dataclass
class Config:
    """What a kubelet is told; ``given`` are the names of those that were flags."""

    given: frozenset[str] = frozenset()
    # Upstream has no flags for these: they are the file's.
    change_detection_strategy: str = "Watch"
    serialize_image_pulls: bool | None = None
    image_pull_credentials_verification_policy: str = "NeverVerifyPreloadedImages"
    preloaded_images_verification_allowlist: tuple[str, ...] = ()
    single_process_oom_kill: bool = False
    config: str = flag("", "Path of a KubeletConfiguration file; flags win over it.")
    feature_gates: tuple[str, ...] = flag((), switches_help(SWITCHABLE_GATES))
    root_dir: str = flag("/var/lib/kubelet", "Directory for all files of the kubelet.")
    bootstrap_kubeconfig: str = flag(
        "", "Kubeconfig to ask for the first client certificate with, where --kubeconfig has none."
    )
    cert_dir: str = flag("", "Directory of the certificates; pki below --root-dir by default.")
    rotate_certificates: bool = flag(
        False, "Replace the client certificate before it expires, by asking the API server."
    )
    rotate_server_certificates: bool = flag(
        False, "Ask the API server for the node API's certificate too; somebody has to approve it."
    )
    container_runtime_endpoint: str = flag(
        "unix:///run/containerd/containerd.sock", "Socket of the container runtime (CRI)."
    )
    hostname_override: str = flag("", "Name of the node; the machine's host name by default.")
    node_ip: tuple[str, ...] = flag((), "Addresses of the node; found out by default.")
    cluster_dns: tuple[str, ...] = flag((), "Addresses of the cluster's DNS servers.")
    cluster_domain: str = flag("cluster.local", "Domain of the cluster.")
    resolv_conf: str = flag("/etc/resolv.conf", "The node's own DNS configuration.")
    address: str = flag("0.0.0.0", "Address that the node API listens on.")
    port: int = flag(10250, "Port of the node API.")
    tls_cert_file: str = flag(
        "", "Serving certificate of the node API (PEM); self-signed if empty."
    )
    tls_private_key_file: str = flag("", "Key of the serving certificate (PEM).")
    client_ca_file: str = flag("", "Authority of client certificates for the node API (PEM).")
    anonymous_auth: bool = flag(False, "Serve the node API to anonymous requests.")
    register_node: bool = flag(True, "Create the Node object.")
    node_labels: tuple[str, ...] = flag((), "Labels for the Node, as key=value.")
    register_with_taints: tuple[str, ...] = flag((), "Taints for the Node, as key=value:effect.")
    pod_manifest_path: str = flag("", "Directory or file of manifests of static pods.")
    manifest_url: str = flag("", "URL of manifests of static pods.")
    manifest_url_header: tuple[str, ...] = flag(
        (), "Headers to ask for the URL of manifests with, as name:value."
    )
    http_check_frequency: Duration = flag(20.0, "Time between looks at the URL of manifests.")
    max_pods: int = flag(110, "How many pods the node takes.")
    pod_max_pids: int = flag(-1, "How many processes a pod may have; -1 leaves that to the node.")
    cgroup_driver: str = flag(
        "cgroupfs",
        "Who makes the pods' cgroups, if the runtime does not tell: cgroupfs or systemd.",
    )
    cgroup_root: str = flag("", "Cgroup below which pods live.")
    system_reserved: tuple[str, ...] = flag((), "Resources kept from pods, as cpu=100m.")
    enforce_node_allocatable: tuple[str, ...] = flag(
        ("pods",), "Who is held to what the node offers: pods or none."
    )
    kube_reserved: tuple[str, ...] = flag((), "Resources kept for Kubernetes itself, as cpu=100m.")
    reserved_cpus: str = flag(
        "", "CPUs kept from exclusive use, as 0-1,4; their number takes the place of reserved CPU."
    )
    cpu_manager_policy: str = flag(
        "none", "Whether containers may have CPUs to themselves: none or static."
    )
    cpu_manager_policy_options: tuple[str, ...] = flag(
        (), "Options of the CPU manager's policy, as full-pcpus-only=true."
    )
    cpu_manager_reconcile_period: Duration = flag(
        10.0, "How often containers are moved to the CPUs that they may run on."
    )
    memory_manager_policy: str = flag(
        "None",
        "Whether containers have their memory on as few NUMA nodes as hold it: None or Static.",
    )
    reserved_memory: tuple[str, ...] = flag(
        (), "Memory kept from pods on each NUMA node, as 0:memory=1Gi,hugepages-2Mi=64Mi."
    )
    topology_manager_policy: str = flag(
        "none",
        "How the NUMA nodes of a pod's CPUs, memory and devices have to agree: none, best-effort, "
        "restricted or single-numa-node.",
    )
    topology_manager_policy_options: tuple[str, ...] = flag(
        (), "Options of the topology manager's policy, as prefer-closest-numa-nodes=true."
    )
    topology_manager_scope: str = flag(
        "container", "Whether NUMA nodes are chosen for each container or for the pod."
    )
    user_namespaces_ids_per_pod: int = flag(
        65536, "How many ids a pod with a user namespace of its own has."
    )
    allowed_unsafe_sysctls: tuple[str, ...] = flag(
        (), "Kernel parameters that pods may set beyond the safe ones; a final * stands for all."
    )
    container_log_max_size: str = flag("10Mi", "Size at which a container's log is rotated.")
    container_log_max_files: int = flag(5, "How many log files a container keeps.")
    node_status_update_frequency: Duration = flag(10.0, "Time between looks at the node.")
    eviction_hard: tuple[str, ...] = flag(
        EVICTION_HARD, "What has to be left, or a pod goes at once: signal<amount."
    )
    eviction_soft: tuple[str, ...] = flag(
        (), "What has to be left, or a pod goes after a grace period: signal<amount."
    )
    eviction_soft_grace_period: tuple[str, ...] = flag(
        (), "How long a soft threshold may be passed: signal=duration."
    )
    eviction_minimum_reclaim: tuple[str, ...] = flag(
        (), "How much more than the threshold an eviction is to free: signal=amount."
    )
    eviction_pressure_transition_period: Duration = flag(
        300.0, "How long a pressure condition outlasts its cause."
    )
    kernel_memcg_notification: bool = flag(
        False, "Have the kernel call when memory gets short, where cgroups are of version 1."
    )
    eviction_max_pod_grace_period: int = flag(
        0, "The longest grace of a pod that a soft threshold evicts, in seconds."
    )
    image_gc_high_threshold: int = flag(
        85, "Percentage of the image disk above which images are removed."
    )
    image_gc_low_threshold: int = flag(
        80, "Percentage of the image disk down to which images are removed."
    )
    minimum_image_ttl_duration: Duration = flag(
        120.0, "How long an unused image stays at least.", "minimum-image-ttl-duration"
    )
    image_maximum_gc_age: Duration = flag(
        0.0, "How long an unused image stays at most; 0 is for ever."
    )
    image_credential_provider_config: str = flag(
        "",
        "CredentialProviderConfig of plugins that know registries' users: a file, or a "
        "directory of them.",
    )
    image_credential_provider_bin_dir: str = flag("", "Directory of these plugins.")
    max_parallel_image_pulls: int = flag(
        0,
        "How many images are pulled at the same time; one by default, and as many as there are "
        "pods where the file says serializeImagePulls: false.",
    )
    shutdown_grace_period: Duration = flag(
        0.0, "How long pods may take to end when the machine stops; 0 does not wait for them."
    )
    shutdown_grace_period_critical_pods: Duration = flag(
        0.0, "The part of the shutdown grace period that critical pods have to themselves."
    )
    shutdown_grace_period_by_pod_priority: tuple[str, ...] = flag(
        (), "Periods for pods by priority instead, as priority=seconds."
    )
    max_container_restart_period: Duration = flag(
        300.0, "The longest pause before a crashing container starts again."
    )

    @property
    def certificates(self) -> Path:
        """The directory of the node's certificates."""
        return Path(self.cert_dir or f"{self.root_dir}/pki")

    def gates(self) -> FeatureGates:
        """The feature gates; raises BadFlag."""
        return FeatureGates(self.feature_gates, SWITCHABLE_GATES)

    @property
    def holds_pods(self) -> bool:
        """Whether pods are held to what the node offers them; raises BadFlag."""
        enforced = ", ".join(self.enforce_node_allocatable)
        if enforced not in ("", "none", "pods"):
            raise BadFlag(f"enforceNodeAllocatable: [{enforced}] is not supported")
        return enforced == "pods"

    def reserved(self) -> dict[str, int]:
        """What is kept from pods, in thousandths; CPUs reserved by number are counted instead."""
        found: dict[str, int] = {}
        for entry in (*self.system_reserved, *self.kube_reserved):
            name, _, amount = entry.partition("=")
            found[name] = found.get(name, 0) + Quantity.parse(amount).milli()
        if self.reserved_cpus:
            found["cpu"] = 1000 * len(self.reserved_by_number())
        return found

    def reserved_by_number(self) -> Cpus:
        """The CPUs that are reserved by their numbers; raises BadFlag."""
        try:
            return parse_cpus(self.reserved_cpus)
        except ValueError as error:
            raise BadFlag(
                "invalid configuration: unable to parse reservedSystemCPUs (--reserved-cpus) "
                f"{self.reserved_cpus}, error: {error}"
            ) from None

    def policy_options(self) -> dict[str, str]:
        """The options of the CPU manager's policy by name."""
        return _pairs(self.cpu_manager_policy_options, "=")

    def topology_options(self) -> dict[str, str]:
        """The options of the topology manager's policy by name."""
        return _pairs(self.topology_manager_policy_options, "=")

    def parallel_pulls(self) -> int:
        """How many images are pulled at a time; raises ValueError for what makes no sense."""
        wanted, serialized = self.max_parallel_image_pulls, self.serialize_image_pulls
        if serialized and wanted > 1:
            raise ValueError(
                "maxParallelImagePulls cannot be larger than 1 unless serializeImagePulls is false"
            )
        # No pod pulls more than one image at a time.
        return wanted or (self.max_pods if serialized is False else 1)

    def thresholds(self) -> list[Threshold]:
        """The eviction thresholds; raises ValueError for those that make no sense."""
        return parse_thresholds(
            _pairs(self.eviction_hard, "<"),
            _pairs(self.eviction_soft, "<"),
            _pairs(self.eviction_soft_grace_period, "="),
            _pairs(self.eviction_minimum_reclaim, "="),
            allocatable=self.holds_pods,
        )


def _pairs(entries: tuple[str, ...], sign: str) -> dict[str, str]:
    for entry in entries:
        if sign not in entry:
            raise ValueError(f"malformed pair, expect string{sign}string: {entry}")
    return {name.strip(): value.strip() for name, _, value in (e.partition(sign) for e in entries)}
