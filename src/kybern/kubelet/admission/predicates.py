"""Whether a pod fits this node: upstream's general predicates, with its reasons and texts. Pure.

The scheduler has judged the same already, but pods also come past it: with ``spec.nodeName`` set,
from manifests, or because two decisions met.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.api.node_fit import matches_node, untolerated
from kybern.api.pod_resources import Amounts, add, amounts, pod_requests
from kybern.api.quantity import Quantity
from kybern.api.resource_claims import extended_requests
from kybern.kubelet.pods import spec

_ANY_ADDRESS = "0.0.0.0"
_NO_RESOURCE = Quantity.parse("0")
_NATIVE = ("cpu", "memory", "ephemeral-storage")

Port = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod is not taken: the status's reason and message."""

    reason: str
    message: str


def unexpected(problem: str) -> Refusal:
    """Something that the scheduler counted on is not there."""
    return Refusal(
        "UnexpectedAdmissionError", f"Allocate failed due to {problem}, which is unexpected"
    )


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource of which too little is left: CPU in thousandths, all else in whole units."""

    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def missing(self) -> int:
        return self.requested - (self.capacity - self.used)

    def refusal(self) -> Refusal:
        return Refusal(
            f"OutOf{self.resource}",
            f"Node didn't have enough resource: {self.resource}, "
            f"requested: {self.requested}, used: {self.used}, capacity: {self.capacity}",
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """What a pod holds of the node."""

    requests: Amounts
    ports: tuple[Port, ...]


def holder(pod: Obj) -> Holder:
    """What a pod, with its granted resources, holds of the node."""
    return Holder(pod_requests(pod), tuple(host_ports(pod)))


def host_ports(pod: Obj) -> list[Port]:
    """Address, protocol and number of every port that the pod takes on the node itself."""
    lasting = [*spec.containers(pod), *filter(spec.is_sidecar, spec.init_containers(pod))]
    return [
        (port.get("hostIP") or _ANY_ADDRESS, port.get("protocol", "TCP"), port["hostPort"])
        for container in lasting
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def refusal(
    pod: Obj, node: Obj, allocatable: Obj, others: Sequence[Holder], operating_system: str = "linux"
) -> Refusal | None:
    """The first reason against the pod; ``others`` are all other pods that the node admitted."""
    short = shortages(pod, allocatable, others)
    return (
        unsupported(pod, node, operating_system)
        or (short[0].refusal() if short else None)
        or unplaceable(pod, node, others)
    )


def unsupported(pod: Obj, node: Obj, operating_system: str = "linux") -> Refusal | None:
    """What the pod asks for that this kind of node does not have."""
    labelled = (pod["metadata"].get("labels") or {}).get("kubernetes.io/os")
    if labelled is not None and labelled != operating_system:
        return Refusal(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    declared = (pod["spec"].get("os") or {}).get("name")
    if declared is not None and declared != operating_system:
        return Refusal(
            "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
        )
    context = pod["spec"].get("securityContext") or {}
    features = (node.get("status") or {}).get("features") or {}
    strict = context.get("supplementalGroupsPolicy") == "Strict"
    if strict and not features.get("supplementalGroupsPolicy"):
        return Refusal(
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        )
    return None


def unplaceable(pod: Obj, node: Obj, others: Sequence[Holder]) -> Refusal | None:
    """Why the pod may not be here, however much is left."""
    return _misplaced(pod, node) or _taken_ports(pod, others) or _untolerated(pod, node)


def without_app_armor(pod: Obj) -> Refusal | None:
    """On a machine without AppArmor: whether the pod wants to be confined by it."""
    contexts = [pod["spec"].get("securityContext") or {}]
    contexts += [c.get("securityContext") or {} for c in spec.all_containers(pod)]
    kinds = [(context.get("appArmorProfile") or {}).get("type") for context in contexts]
    if all(kind in (None, "Unconfined") for kind in kinds):
        return None
    return Refusal("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")


def shortages(pod: Obj, allocatable: Obj, others: Sequence[Holder]) -> list[Shortage]:
    """The resources that are not left in the amount that the pod requests."""
    found = []
    allowed = int(allocatable.get("pods", "110"))
    if len(others) + 1 > allowed:
        found.append(Shortage("pods", 1, len(others), allowed))
    used: Amounts = {}
    for other in others:
        add(used, other.requests)
    wanted, capacity = pod_requests(pod), amounts(allocatable)
    extended = sorted(name for name in wanted if name not in _NATIVE)
    claimed = {mapping["resourceName"] for mapping in extended_requests(pod)}
    for name in (*_NATIVE, *extended):
        if name in extended and (name not in capacity or name in claimed):
            # Resources that the node does not know belong to the cluster, or to claims.
            continue
        requested = wanted.get(name, _NO_RESOURCE)
        held, whole = used.get(name, _NO_RESOURCE), capacity.get(name, _NO_RESOURCE)
        if requested and whole < held + requested:
            found.append(Shortage(name, *(units(name, each) for each in (requested, held, whole))))
    return found


def units(name: str, quantity: Quantity) -> int:
    """An amount as refusals count it."""
    return quantity.milli() if name == "cpu" else quantity.value()


def _failed(predicate: str, text: str) -> Refusal:
    return Refusal(predicate, f"Predicate {predicate} failed: {text}")


def _misplaced(pod: Obj, node: Obj) -> Refusal | None:
    if not matches_node(pod["spec"], node):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    wanted = pod["spec"].get("nodeName")
    if wanted and wanted != node["metadata"]["name"]:
        return _failed("NodeName", "node(s) didn't match the requested node name")
    return None


def _taken_ports(pod: Obj, others: Iterable[Holder]) -> Refusal | None:
    taken = [port for other in others for port in other.ports]
    if any(_clash(mine, theirs) for mine in host_ports(pod) for theirs in taken):
        return _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _clash(one: Port, other: Port) -> bool:
    """The same protocol and number, on the same address or on all."""
    if one[1:] != other[1:]:
        return False
    return one[0] == other[0] or _ANY_ADDRESS in (one[0], other[0])


def _untolerated(pod: Obj, node: Obj) -> Refusal | None:
    """Only NoExecute matters here; what comes from this node's own manifests runs regardless."""
    if spec.is_static(pod):
        return None
    if untolerated(pod["spec"], (node.get("spec") or {}).get("taints") or (), "NoExecute"):
        return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None
