"""What bounds a pod and each of its containers, in the kernel's units. Pure.

:class:`Limits` is what a spec asks for; :class:`Bounds` is what a cgroup holds. The two cgroup
versions name CPU requests differently (shares, weight) and every kernel rounds, so a resize is due
only where :meth:`Bounds.hold` says that the kernel holds something else than the spec's numbers.
"""

import math
import mmap
from dataclasses import dataclass, replace

from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_limits, pod_requests
from kybern.api.quantity import Quantity
from kybern.kubelet.pods import spec

CPU_PERIOD = 100_000
MIN_SHARES = 2
MAX_SHARES = 262_144
MIN_QUOTA = 1000
# A percent of a CPU, in microseconds per period.
_PERCENT = CPU_PERIOD // 100
_SHARES_PER_CPU = 1024
# The mark of a granted container that has CPUs to itself: which, in the kernel's notation.
EXCLUSIVE_CPUS = "exclusiveCpus"
_ZERO = Quantity.parse("0")


def cpu_shares(milli_cpu: int) -> int:
    """cgroup v1's weight for a CPU request in thousandths of a core."""
    if milli_cpu == 0:
        return MIN_SHARES
    return min(max(milli_cpu * _SHARES_PER_CPU // 1000, MIN_SHARES), MAX_SHARES)


def cpu_quota(milli_cpu: int) -> int:
    """Microseconds per period for a CPU limit in thousandths of a core; 0 without one."""
    if milli_cpu == 0:
        return 0
    return max(milli_cpu * CPU_PERIOD // 1000, MIN_QUOTA)


def cpu_weight(shares: int) -> int:
    """cgroup v2's weight for v1's shares, as runtimes converted it at first."""
    return 1 + (shares - MIN_SHARES) * 9999 // (MAX_SHARES - MIN_SHARES)


def curved_cpu_weight(shares: int) -> int:
    """The weight by the newer conversion, which keeps the default of both scales in place."""
    if shares <= MIN_SHARES:
        return 1
    if shares >= MAX_SHARES:
        return 10_000
    magnitude = math.log2(shares)
    return math.ceil(10 ** ((magnitude**2 + 125 * magnitude) / 612.0 - 7.0 / 34.0))


@dataclass(frozen=True, slots=True)
class Limits:
    """CPU shares, CPU quota and bytes of memory; None where no limit applies."""

    shares: int
    quota: int | None
    memory: int | None


def in_whole_percents(limits: Limits) -> Limits:
    """The limits as systemd can write them down."""
    return replace(limits, quota=_whole_percents(limits.quota))


def _whole_percents(quota: int | None) -> int | None:
    return None if quota is None else -(-quota // _PERCENT) * _PERCENT


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a cgroup holds; ``weight`` is in shares on version 1.

    With ``whole_percents`` it is systemd's, whose unit files have no fractions of a CPU percent:
    quotas are rounded up to them.
    """

    unified: bool
    weight: int
    quota: int | None
    memory: int | None
    memory_used: int = 0
    whole_percents: bool = False

    def hold(self, wanted: Limits) -> bool:
        """Whether the kernel holds these limits."""
        return (
            self.hold_shares(wanted.shares)
            and self.hold_quota(wanted.quota)
            and self.hold_memory(wanted.memory)
        )

    def hold_shares(self, shares: int) -> bool:
        if not self.unified:
            return self.weight == shares
        return self.weight in (cpu_weight(shares), curved_cpu_weight(shares))

    def hold_quota(self, quota: int | None) -> bool:
        if self.whole_percents and self.quota == _whole_percents(quota):
            return True
        return self.quota == quota

    def hold_memory(self, memory: int | None) -> bool:
        """The kernel counts memory in whole pages."""
        if memory is None or self.memory is None:
            return self.memory == memory
        return self.memory == memory // mmap.PAGESIZE * mmap.PAGESIZE

    @property
    def milli_cpu_request(self) -> int:
        """The CPU request that the weight stands for, in thousandths of a core."""
        shares = self.weight
        if self.unified:
            shares = MIN_SHARES + (self.weight - 1) * (MAX_SHARES - MIN_SHARES) // 9999
        return math.ceil(shares * 1000 / _SHARES_PER_CPU)

    @property
    def milli_cpu_limit(self) -> int | None:
        return None if self.quota is None else self.quota * 1000 // CPU_PERIOD


def pod_bounds(pod: Obj) -> Limits:
    """Shares from the requests; quota and memory if each container or the pod has such a limit.

    A quota would slow down containers that have CPUs to themselves, so there is none for them.
    """
    requests, limits = pod_requests(pod), pod_limits(pod)
    own = (pod["spec"].get("resources") or {}).get("limits") or {}
    containers = (*spec.containers(pod), *spec.init_containers(pod))

    def bounded(resource: str) -> bool:
        each = all(spec.resource_milli(c, "limits", resource) for c in containers)
        return each or bool(Quantity.parse(own.get(resource, "0")))

    return Limits(
        shares=cpu_shares(requests.get("cpu", _ZERO).milli()),
        quota=cpu_quota(limits["cpu"].milli()) if bounded("cpu") and not is_pinned(pod) else None,
        memory=limits["memory"].value() if bounded("memory") else None,
    )


def is_pinned(pod: Obj) -> bool:
    """Whether any container of a granted pod has CPUs to itself."""
    return any(EXCLUSIVE_CPUS in container for container in spec.all_containers(pod))


def container_bounds(pod: Obj, container: Obj) -> Limits:
    """One container's limits; where it has none of its own, the pod's."""
    asked = container.get("resources") or {}
    requests = asked.get("requests") or {}
    limits = {**_shared_limits(pod), **(asked.get("limits") or {})}
    cpu_limit = Quantity.parse(limits.get("cpu", "0")).milli()
    memory_limit = Quantity.parse(limits.get("memory", "0")).value()
    cpu_request = Quantity.parse(requests["cpu"]).milli() if "cpu" in requests else cpu_limit
    quota = 0 if EXCLUSIVE_CPUS in container else cpu_quota(cpu_limit)
    return Limits(cpu_shares(cpu_request), quota or None, memory_limit or None)


def _shared_limits(pod: Obj) -> Obj:
    declared = (pod["spec"].get("resources") or {}).get("limits") or {}
    return {name: declared[name] for name in ("cpu", "memory") if name in declared}
