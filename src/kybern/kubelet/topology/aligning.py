"""The topology manager with a policy that heeds NUMA nodes.

``best-effort`` goes by whatever is merged from the hints, ``restricted`` refuses what is not
preferred, and ``single-numa-node`` what is not on one node. The scope says whether hints are merged
for each container or once for the pod.
"""

import logging
from collections.abc import Callable, Sequence

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.cpus import metrics as aligned
from kybern.kubelet.pods import spec
from kybern.kubelet.topology import merging, metrics
from kybern.kubelet.topology.hints import Hint, Hints, Mask, mask_of, narrowness, numbers
from kybern.kubelet.topology.manager import (
    Provider,
    Share,
    TopologyManager,
    give_containers,
    in_order,
)
from kybern.kubelet.topology.numa import Nodes, read_nodes
from kybern.kubelet.topology.options import Options, parse_options

logger = logging.getLogger(__name__)

SINGLE = "single-numa-node"
REFUSAL = Refusal("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


class Policy:
    """Judges hints, on a machine with these nodes."""

    def __init__(self, name: str, options: Options, nodes: Nodes) -> None:
        self.name = name
        self.nodes = tuple(nodes)
        self._every = mask_of(nodes)
        self._order: Callable[[Mask], object] = narrowness
        if options.closest and name != SINGLE:
            self._order = _closeness(nodes)

    def merge(self, providers: Sequence[Hints]) -> tuple[Hint, bool]:
        """The nodes to take, and whether the policy takes them."""
        resources = merging.by_resource(providers)
        if self.name == SINGLE:
            resources = merging.on_one_node(resources)
        best = merging.merge(resources, self._every, self._order)
        if self.name == SINGLE and best.nodes == self._every:
            best = Hint(None, best.preferred)
        return best, best.preferred or self.name == "best-effort"


class AligningManager(TopologyManager):
    """One node's, for one policy and scope."""

    def __init__(
        self, providers: Sequence[Provider], clock: Clock, policy: Policy, scope: str
    ) -> None:
        super().__init__(providers, clock)
        self.nodes = policy.nodes
        self._policy = policy
        self._scope = scope

    async def _give(self, pod: Obj, shares: Sequence[Share]) -> Refusal | None:
        align = self._align_pod if self._scope == "pod" else self._align_containers
        refusal = await align(pod, shares)
        if refusal is not None:
            metrics.ERRORS.inc()
        return refusal

    async def _align_containers(self, pod: Obj, shares: Sequence[Share]) -> Refusal | None:
        for container in in_order(pod):
            hint = self._merged(pod, [share.hints(container) for share in shares])
            if hint is None:
                return REFUSAL
            if (refusal := await give_containers([container], shares, hint)) is not None:
                return refusal
            self._count(True)
        return None

    async def _align_pod(self, pod: Obj, shares: Sequence[Share]) -> Refusal | None:
        hint = self._merged(pod, [share.pod_hints() for share in shares])
        if hint is None:
            return REFUSAL
        refusal = await give_containers(in_order(pod), shares, hint)
        if refusal is None:
            self._count(True)
        return refusal

    def _merged(self, pod: Obj, hints: Sequence[Hints]) -> Hint | None:
        """The hint to go by, None if the policy has no such nodes."""
        best, admitted = self._policy.merge(hints)
        nodes = "any" if best.nodes is None else numbers(best.nodes)
        logger.debug("pod %s: nodes %s, preferred: %s", spec.uid(pod), nodes, best.preferred)
        if not admitted:
            self._count(False)
        return best if admitted else None

    def _count(self, success: bool) -> None:
        """Only where one node is guaranteed anything is known to be aligned."""
        if self._policy.name == SINGLE:
            aligned.on_one_node(self._scope, success)


def make_aligning_manager(
    config: Config, providers: Sequence[Provider], clock: Clock
) -> AligningManager:
    """The manager for a policy but ``none``. Blocks; raises BadFlag where it makes no sense."""
    options = parse_options(config.topology_options())
    nodes = read_nodes()
    if options.closest and not all(node.distances for node in nodes.values()):
        raise BadFlag("cannot discover NUMA topology: error getting NUMA distances from cadvisor")
    if len(nodes) > options.most_nodes:
        raise BadFlag(f"unsupported on machines with more than {options.most_nodes} NUMA Nodes")
    policy = Policy(config.topology_manager_policy, options, nodes)
    for scope in ("container", "pod"):
        aligned.on_one_node(scope, True, 0)
        aligned.on_one_node(scope, False, 0)
    return AligningManager(providers, clock, policy, config.topology_manager_scope)


def _closeness(nodes: Nodes) -> Callable[[Mask], object]:
    """Sorts sets of as many nodes by how far these are from each other on average."""

    def closeness(mask: Mask) -> tuple[int, float, Mask]:
        chosen = numbers(mask)
        distances = [nodes[one].distances[other] for one in chosen for other in chosen]
        return len(chosen), sum(distances) / len(distances), mask

    return closeness
