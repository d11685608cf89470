"""The policy ``static``: which CPUs are whose. Pure, apart from what it counts.

Containers of Guaranteed pods that request whole CPUs get them for themselves; all others share the
rest, the reserved CPUs included. Who has what is the :class:`State`, which the manager keeps.
"""

from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal, unexpected
from kybern.kubelet.cpus import metrics
from kybern.kubelet.cpus.assignment import NotEnough, choose
from kybern.kubelet.cpus.checkpoint import State
from kybern.kubelet.cpus.cpuset import NO_CPUS, Cpus, shown
from kybern.kubelet.cpus.options import Options
from kybern.kubelet.cpus.topology import Topology
from kybern.kubelet.pods import spec
from kybern.kubelet.topology.hints import Mask


@dataclass(frozen=True, slots=True)
class StaticPolicy:
    """The rules for one machine; ``reserved`` CPUs are given to nobody."""

    topology: Topology
    options: Options
    reserved: Cpus

    def check(self, state: State) -> State:
        """The state to begin with; raises BadFlag for one that does not fit this machine."""
        pool = self.topology.cpus - (self.reserved if self.options.strict else NO_CPUS)
        if not state.shared:
            if state.assignments:
                raise BadFlag("default cpuset cannot be empty")
            return State(pool)
        shared = self.reserved & state.shared
        if self.options.strict and shared:
            raise BadFlag(
                f'some of strictly reserved cpus: "{shown(shared)}" are present in '
                f'defaultCpuSet: "{shown(state.shared)}"'
            )
        if not self.options.strict and shared != self.reserved:
            raise BadFlag(
                f'not all reserved cpus: "{shown(self.reserved)}" are present in '
                f'defaultCpuSet: "{shown(state.shared)}"'
            )
        for uid, given in state.assignments.items():
            for name, cpus in given.items():
                if cpus & state.shared:
                    raise BadFlag(
                        f'pod: {uid}, container: {name} cpuset: "{shown(cpus)}" overlaps with '
                        f'default cpuset "{shown(state.shared)}"'
                    )
        known = state.shared | state.assigned
        if known != self.topology.cpus:
            raise BadFlag(
                f'current set of available CPUs "{shown(self.topology.cpus)}" doesn\'t match '
                f'with CPUs in state "{shown(known)}"'
            )
        return state

    def take(self, state: State, lent: Cpus, count: int, nodes: Mask | None) -> Cpus | Refusal:
        """Take CPUs out of the shared ones, or of those that are lent; a refusal takes none.

        Where NUMA nodes are named, as many are taken there as these have.
        """
        refusal = self._misaligned(count, state.shared)
        try:
            chosen = self._choose(self.available(state) | lent, count, nodes)
        except NotEnough as error:
            refusal = refusal or unexpected(str(error))
        if refusal is not None:
            metrics.failed(self.options)
            return refusal
        metrics.chosen(self.options, self.topology, chosen)
        state.shared -= chosen
        return chosen

    def available(self, state: State) -> Cpus:
        """The CPUs that nobody has to themselves and anybody might."""
        return state.shared - self.reserved

    def _choose(self, free: Cpus, count: int, nodes: Mask | None) -> Cpus:
        near = NO_CPUS
        if nodes is not None:
            there = frozenset(cpu for cpu in free if nodes >> self.topology.places[cpu].numa & 1)
            near = choose(self.topology, there, min(count, len(there)), self.options)
        return near | choose(self.topology, free - near, count - len(near), self.options)

    def release(self, state: State, uid: str) -> None:
        """Put the CPUs of a pod back."""
        state.shared |= NO_CPUS.union(*state.assignments.pop(uid).values())

    def _misaligned(self, count: int, shared: Cpus) -> Refusal | None:
        """Whether whole cores are asked for and cannot be had."""
        if not self.options.full_cores:
            return None
        per_core = self.topology.per("core")
        if count % per_core:
            text = f"requested {count} cpus not multiple cpus per core = {per_core}"
            return Refusal("SMTAlignmentError", f"SMT Alignment Error: {text}")
        cores = self.topology.ids("core", self.reserved)
        broken = {cpu for cpu in shared if self.topology.places[cpu].core in cores}
        whole = len(shared - broken)
        if count > whole:
            text = (
                "not enough free physical CPUs: available physical CPUs = "
                f"{whole}, requested CPUs = {count}, CPUs per core = {per_core}"
            )
            return Refusal("SMTAlignmentError", f"SMT Alignment Error: {text}")
        return None

    def count(self, state: State) -> None:
        """Tell the metrics how much is whose."""
        metrics.count(self.topology, self.available(state), state.assigned)


def static_policy(
    topology: Topology, options: Options, milli_cpu: int | None, named: Cpus
) -> StaticPolicy:
    """The policy where that much CPU is reserved, or these CPUs are; raises BadFlag."""
    if milli_cpu is None:
        raise BadFlag("[cpumanager] unable to determine reserved CPU resources for static policy")
    if milli_cpu == 0:
        raise BadFlag(
            "[cpumanager] the static policy requires systemreserved.cpu + kubereserved.cpu "
            "to be greater than zero"
        )
    count = -(-milli_cpu // 1000)
    try:
        reserved = named or choose(topology, topology.cpus, count, options)
    except NotEnough:
        reserved = NO_CPUS
    if len(reserved) != count:
        raise BadFlag(
            "new static policy error: [cpumanager] unable to reserve the required amount of CPUs "
            f"(size of {shown(reserved)} did not equal {count})"
        )
    return StaticPolicy(topology, options, reserved)


def exclusive_cpus(pod: Obj, container: Obj) -> int:
    """How many CPUs a container gets for itself; 0 for one that shares."""
    if pod["spec"].get("resources") or spec.qos_class(pod) != "Guaranteed":
        return 0
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.get("cpu", "0")
    milli = Quantity.parse(asked).milli()
    return milli // 1000 if milli % 1000 == 0 else 0
