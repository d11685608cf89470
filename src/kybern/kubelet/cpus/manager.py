"""The CPU manager as the rest of the node knows it, and the policy ``none``, which gives nothing.

``pinning.py`` is the manager where the policy is ``static``; few nodes load it.
"""

from pathlib import Path

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.config import Config
from kybern.kubelet.cpus import checkpoint
from kybern.kubelet.cpus.cpuset import Cpus, shown
from kybern.kubelet.cpus.topology import Topology, read_topology
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.topology.manager import Share


class CpuManager:
    """All containers run on all CPUs."""

    def share(self, pod: Obj) -> Share | None:
        """What a new pod is to have to itself, if anything; the topology manager gives it."""
        return None

    async def release(self, uid: str) -> None:
        """The pod has ended; others may have its CPUs."""

    def judge_resize(self, granted: Obj, wanted: Obj) -> Refusal | None:
        """Whether a pod may change its size while it runs."""
        return None

    def pinned(self, pod: Obj) -> Obj:
        """The pod, its containers that have CPUs to themselves marked with them."""
        return pod

    def cpuset(self, uid: str, container: str) -> str:
        """The CPUs that a container may run on, empty for all."""
        return ""

    def pods(self) -> set[str]:
        """UIDs of all pods that have CPUs to themselves."""
        return set()

    async def run(self) -> None:
        """Keep running containers on their CPUs, until cancelled."""


def make_cpu_manager(config: Config, runtime: Runtime) -> CpuManager:
    """The manager for a node's configuration. Blocks; raises BadFlag where it makes no sense."""
    options = config.policy_options()
    if config.cpu_manager_policy == "none":
        if options:
            shown_options = " ".join(f"{name}:{value}" for name, value in sorted(options.items()))
            raise BadFlag(
                "new none policy error: None policy: received unsupported "
                f"options=map[{shown_options}]"
            )
        if config.reserved_cpus:
            _reserved(config, read_topology())
        checkpoint.restore(Path(config.root_dir), "none")
        return CpuManager()
    if config.cpu_manager_policy == "static":
        from kybern.kubelet.cpus.pinning import PinningManager

        topology = read_topology()
        return PinningManager(config, topology, _reserved(config, topology), runtime)
    raise BadFlag(f'unknown policy: "{config.cpu_manager_policy}"')


def _reserved(config: Config, topology: Topology) -> Cpus:
    """The CPUs that are reserved by their numbers, if this machine has them."""
    named = config.reserved_by_number()
    if not named <= topology.cpus:
        raise BadFlag(
            f"reserved-cpus: {config.reserved_cpus} is not a subset of "
            f"online-cpus: {shown(topology.cpus)}"
        )
    return named
