"""What ``/metrics`` says of the topology manager, under upstream's names."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "kubelet_topology_manager_admission_requests",
    "The number of pods that were given their shares of the machine, or refused them.",
)
ERRORS = Counter(
    "kubelet_topology_manager_admission_errors",
    "The number of pods whose shares could not be aligned.",
)
DURATION = Histogram(
    "kubelet_topology_manager_admission_duration_ms",
    "Duration in milliseconds of giving a pod its shares.",
    buckets=[0.05 * 2**step for step in range(15)],
)
