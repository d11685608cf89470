"""What one pod gets of the CPUs, where the policy is ``static``: hints, and then the CPUs.

Ordinary init containers end before the others begin, who may have their CPUs then.
"""

from collections.abc import Awaitable, Callable, Iterable

from kybern.api.errors import Obj
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.cpus import metrics
from kybern.kubelet.cpus.checkpoint import State
from kybern.kubelet.cpus.cpuset import NO_CPUS, Cpus
from kybern.kubelet.cpus.static import StaticPolicy, exclusive_cpus
from kybern.kubelet.cpus.topology import Topology
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.hints import Hint, Hints, masks, preferring


class CpuShare:
    """One pod's share of ``state``, which it changes; ``keep`` writes the state down."""

    def __init__(
        self, policy: StaticPolicy, state: State, pod: Obj, keep: Callable[[], Awaitable[None]]
    ) -> None:
        self._policy = policy
        self._state = state
        self._pod = pod
        self._uid = spec.uid(pod)
        self._is_new = self._uid not in state.assignments
        self._lent = NO_CPUS
        self._keep = keep

    def hints(self, container: Obj) -> Hints:
        count = exclusive_cpus(self._pod, container)
        if not count:
            return {}
        given = self._given(container)
        if given is None:
            return self._hints(count, self._lent)
        return {"cpu": self._where(given, NO_CPUS, count) if len(given) == count else []}

    def pod_hints(self) -> Hints:
        count = pod_cpus(self._pod)
        assigned = NO_CPUS
        for container in (*spec.init_containers(self._pod), *spec.containers(self._pod)):
            given = self._given(container)
            if given is not None:
                if len(given) != exclusive_cpus(self._pod, container):
                    return {"cpu": []}
                assigned |= given
        if len(assigned) == count:
            return {"cpu": self._where(assigned, NO_CPUS, count)}
        return self._hints(count, assigned)

    def _hints(self, count: int, lent: Cpus) -> Hints:
        return {"cpu": self._where(self._policy.available(self._state), lent, count)}

    def _where(self, free: Cpus, lent: Cpus, count: int) -> list[Hint]:
        return cpu_hints(self._policy.topology, free, lent, count)

    async def give(self, container: Obj, hint: Hint) -> Refusal | None:
        count = exclusive_cpus(self._pod, container)
        if not count:
            return None
        metrics.REQUESTS.inc()
        given = self._given(container)
        if given is None:
            taken = self._policy.take(self._state, self._lent, count, hint.nodes)
            if isinstance(taken, Refusal):
                return taken
            given = taken
            self._state.assignments.setdefault(self._uid, {})[container["name"]] = given
        if container in spec.init_containers(self._pod) and not spec.is_sidecar(container):
            self._lent |= given
        else:
            self._lent -= given
        return None

    def _given(self, container: Obj) -> Cpus | None:
        return self._state.assignments.get(self._uid, {}).get(container["name"])

    async def keep(self) -> None:
        await self._keep()

    def take_back(self) -> None:
        if self._is_new and self._uid in self._state.assignments:
            self._policy.release(self._state, self._uid)


def pod_cpus(pod: Obj) -> int:
    """The most CPUs that a pod's containers have to themselves at any time."""
    peak = lasting = 0
    for container in spec.init_containers(pod):
        count = exclusive_cpus(pod, container)
        if spec.is_sidecar(container):
            lasting += count
        else:
            peak = max(peak, lasting + count)
    return max(peak, lasting + sum(exclusive_cpus(pod, each) for each in spec.containers(pod)))


def cpu_hints(topology: Topology, free: Iterable[int], lent: Cpus, count: int) -> list[Hint]:
    """The NUMA nodes that have so many CPUs free, with all that are lent to the pod."""
    nodes = topology.ids("numa", topology.cpus)
    whole = {node: len(topology.inside("numa", node, topology.cpus)) for node in nodes}
    left = {node: len(topology.inside("numa", node, free)) for node in nodes}
    borrowed = {node: len(topology.inside("numa", node, lent)) for node in nodes}
    fewest, possible = len(nodes), []
    for mask in masks(nodes):
        inside = [node for node in nodes if mask >> node & 1]
        if sum(whole[node] for node in inside) >= count:
            fewest = min(fewest, mask.bit_count())
        if sum(borrowed[node] for node in inside) < len(lent):
            continue
        if len(lent) + sum(left[node] for node in inside) >= count:
            possible.append(mask)
    return preferring(possible, fewest)
