"""What Services own in the cluster: addresses of the service CIDRs and ports of every node.

The verbs tell :class:`~kybern.apiserver.allocation.services.ServiceAllocator` before a Service is
stored and afterwards whether it was; it fills in what the Service needs. Ownership is stored
(IPAddress objects and one bitmap of ports), so it holds across restarts and between servers;
``repair.py`` frees what a killed server left behind.
"""

from kybern.apiserver.allocation.allocator import Allocation, Allocator

__all__ = ["Allocation", "Allocator"]
