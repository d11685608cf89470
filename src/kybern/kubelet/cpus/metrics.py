"""What ``/metrics`` says of the CPU manager, under upstream's names."""

from prometheus_client import Counter, Gauge

from kybern.kubelet.cpus.cpuset import Cpus
from kybern.kubelet.cpus.options import Options
from kybern.kubelet.cpus.topology import Topology

REQUESTS = Counter(
    "kubelet_cpu_manager_pinning_requests",
    "The number of CPU allocations that required pinning.",
)
_ERRORS = Counter(
    "kubelet_cpu_manager_pinning_errors",
    "The number of CPU allocations that required pinning and failed.",
)
_SHARED = Gauge(
    "kubelet_cpu_manager_shared_pool_size_millicores",
    "The size of the shared CPU pool for non-guaranteed QoS pods, in millicores.",
)
_EXCLUSIVE = Gauge(
    "kubelet_cpu_manager_exclusive_cpu_allocation_count",
    "The number of CPUs that containers of this node have to themselves.",
)
_PER_NODE = Gauge(
    "kubelet_cpu_manager_allocation_per_numa",
    "Number of CPUs allocated per NUMA node.",
    ("numa_node",),
)
# Gauges, although they count: upstream's names lack the ending that the library gives to counters.
_ALIGNED = Gauge(
    "kubelet_container_aligned_compute_resources_count",
    "Cumulative number of aligned compute resources allocated to containers by alignment type.",
    ("scope", "boundary"),
)
_MISALIGNED = Gauge(
    "kubelet_container_aligned_compute_resources_failure_count",
    "Cumulative number of failures to allocate aligned compute resources by alignment type.",
    ("scope", "boundary"),
)
_CORES = ("container", "physical_cpu")
_CACHE = ("container", "uncore_cache")
for _series in (_ALIGNED.labels(*_CORES), _ALIGNED.labels(*_CACHE), _MISALIGNED.labels(*_CORES)):
    _series.set(0)


def chosen(options: Options, topology: Topology, cpus: Cpus) -> None:
    """A container got CPUs."""
    if options.full_cores:
        _ALIGNED.labels(*_CORES).inc()
    if len(topology.ids("cache", cpus)) == 1:
        _ALIGNED.labels(*_CACHE).inc()


def failed(options: Options) -> None:
    """A container could not get its CPUs."""
    _ERRORS.inc()
    if options.full_cores:
        _MISALIGNED.labels(*_CORES).inc()


def on_one_node(scope: str, success: bool, times: int = 1) -> None:
    """A container's or a pod's resources are guaranteed to be on one NUMA node, or could not be."""
    (_ALIGNED if success else _MISALIGNED).labels(scope, "numa_node").inc(times)


def count(topology: Topology, available: Cpus, assigned: Cpus) -> None:
    """What is left to give, and what is given."""
    _SHARED.set(len(available) * 1000)
    _EXCLUSIVE.set(len(assigned))
    for node in topology.ids("numa", topology.cpus):
        _PER_NODE.labels(str(node)).set(len(topology.inside("numa", node, assigned)))
