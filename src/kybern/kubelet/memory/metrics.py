"""What ``/metrics`` says of the memory manager, under upstream's names."""

from prometheus_client import Counter

REQUESTS = Counter(
    "kubelet_memory_manager_pinning_requests",
    "The number of containers whose memory had to be given nodes.",
)
ERRORS = Counter(
    "kubelet_memory_manager_pinning_errors",
    "The number of containers whose memory had to be given nodes and could not be.",
)
