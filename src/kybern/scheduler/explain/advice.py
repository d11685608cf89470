"""What would help a pod that no node can take, in sentences that say what to do.

One function for each plugin that may turn a pod down; ``advise`` asks those that did. A plugin of
somebody else's gets no advice. Other namespaces' pods are never named, for whoever may read the
pod's explanation may not know of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.api.node_fit import untolerated
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.explain.amounts import readable, words
from kybern.scheduler.plugins.affinity_filter import AFFINITY, ANTI_AFFINITY
from kybern.scheduler.plugins.volume_binding import UNBOUND
from kybern.scheduler.pod_shape import needed_features
from kybern.scheduler.pod_storage import claim_names

Obj = dict[str, Any]

MOST = 8
# Nodes looked at for the one that is easiest to mend.
LOOKED_AT = 100
STATES = {
    "not-ready": "is not Ready",
    "unreachable": "does not report any more",
    "memory-pressure": "is short of memory",
    "disk-pressure": "is short of disk space",
    "pid-pressure": "is short of process ids",
    "network-unavailable": "has no network",
}
NODE_TAINTS = "node.kubernetes.io/"


@dataclass(frozen=True)
class Case:
    """A pod that found no node, and the parts of what was found that one plugin brought."""

    pod: Obj
    cluster: ClusterColumns
    reasons: tuple[str, ...]
    nodes: tuple[Obj, ...]
    closest: tuple[Obj, ...]
    hopeless: bool


def advise(pod: Obj, error: FitError, cluster: ClusterColumns, closest: list[Obj]) -> list[str]:
    """At most ``MOST`` sentences; those of the plugins that judged last, and whose nodes came
    furthest, come first."""
    if error.rejection:
        case = Case(pod, cluster, (error.rejection,), (), (), True)
        return _of_plugin(error.rejected_by[0], case)[:MOST]
    found: list[str] = []
    for plugin in reversed(list(dict.fromkeys(one.plugin for one in error.verdicts))):
        verdicts = [one for one in error.verdicts if one.plugin == plugin]
        rows = [row for one in verdicts for row in one.rows[:LOOKED_AT].tolist()]
        nodes = (cluster.nodes.objects[row] for row in rows[:LOOKED_AT])
        reasons = dict.fromkeys(text for one in verdicts for text in one.reasons)
        case = Case(
            pod,
            cluster,
            tuple(reasons),
            tuple(node for node in nodes if node is not None),
            tuple(one for one in closest if one["plugin"] == plugin),
            all(one.unresolvable for one in verdicts),
        )
        found += _of_plugin(plugin, case)
    return found[:MOST]


def _of_plugin(plugin: str, case: Case) -> list[str]:
    give = ADVICE.get(plugin)
    return give(case) if give is not None else []


def _resources(case: Case) -> list[str]:
    if case.hopeless:
        return _too_large(case)
    found: list[str] = []
    if case.closest and (lacks := case.closest[0]["lacks"]):
        node = case.closest[0]["node"]
        what = " and ".join(f"{one['lacking']} {words(one['resource'])}" for one in lacks)
        found.append(f"Free {what} on {node}, or add a node.")
        asks = [one for one in lacks if one["resource"] != "pods"]
        if asks and len(asks) == len(lacks):
            room = " and ".join(f"{one['free']} {words(one['resource'])}" for one in asks)
            found.append(f"Let the pod ask for no more than {room}: then {node} can take it.")
    if case.pod["spec"].get("preemptionPolicy") != "Never":
        found.append("Give the pod a priority above that of pods which it may push aside.")
    return found


def _too_large(case: Case) -> list[str]:
    """No node would do even if it were empty."""
    found: list[str] = []
    for one in case.closest[0]["lacks"] if case.closest else ():
        name = one["resource"]
        column = case.cluster.nodes.resource(name).allocatable.values if name != "pods" else None
        most = int(column.max()) if column is not None else 0
        if most:
            found.append(
                f"No node is large enough: the pod asks for {one['requested']} {words(name)} and "
                f"the largest node has {readable(name, most)}. Ask for less or add a larger node."
            )
        elif column is not None:
            found.append(
                f"No node offers {words(name)}: add one that does, or see to it that what "
                "registers it on nodes (a device plugin) runs."
            )
    return found


def _taints(case: Case) -> list[str]:
    found: dict[str, str] = {}
    for node in case.nodes:
        taints = (node.get("spec") or {}).get("taints") or ()
        name = node["metadata"]["name"]
        for taint in untolerated(case.pod["spec"], taints, "NoSchedule", "NoExecute")[:1]:
            key, value, effect = taint["key"], taint.get("value", ""), taint["effect"]
            state = STATES.get(key.removeprefix(NODE_TAINTS))
            if key.startswith(NODE_TAINTS) and state:
                found.setdefault(key, f"Bring {name} back: it {state}.")
                continue
            text = f"{key}={value}:{effect}" if value else f"{key}:{effect}"
            found.setdefault(
                text,
                f"Let the pod tolerate the taint {text}, or take it off: "
                f"kubectl taint nodes {name} {key}:{effect}-",
            )
    return list(found.values())


def _cordoned(case: Case) -> list[str]:
    return [f"Open a node again: kubectl uncordon {_name(case.nodes[0])}"] if case.nodes else []


def _labels(case: Case) -> list[str]:
    """The node that misses the fewest labels of the pod's nodeSelector."""
    wanted = (case.pod["spec"].get("nodeSelector") or {}).items()
    missing = [
        [f"{k}={v}" for k, v in wanted if (node["metadata"].get("labels") or {}).get(k) != v]
        for node in case.nodes
    ]
    least = min((labels for labels in missing if labels), key=len, default=None)
    if least is not None:
        name = _name(case.nodes[missing.index(least)])
        text = f"kubectl label node {name} {' '.join(least)}"
        return [f"Label a node as the pod's nodeSelector asks: {text}"]
    return ["Label a node so that the pod's required node affinity admits it, or ask for less."]


def _ports(case: Case) -> list[str]:
    return ["Use another host port, or a Service in its place: on these nodes the port is taken."]


def _spreading(case: Case) -> list[str]:
    constraints = case.pod["spec"].get("topologySpreadConstraints") or ()
    hard = [one for one in constraints if one.get("whenUnsatisfiable") == "DoNotSchedule"]
    found: list[str] = []
    for one in hard:
        key = one["topologyKey"]
        if any("missing required label" in reason for reason in case.reasons):
            found.append(f"Label the nodes with {key}: pods are to be spread over it.")
        else:
            found.append(
                f"Make room in the {key} that has the fewest of these pods, raise maxSkew "
                f"({one.get('maxSkew')}), or spread with whenUnsatisfiable: ScheduleAnyway."
            )
    return found


def _affinity(case: Case) -> list[str]:
    found: list[str] = []
    affinity = case.pod["spec"].get("affinity") or {}
    if AFFINITY in case.reasons:
        keys = ", ".join(_topology_keys(affinity.get("podAffinity")))
        found.append(
            f"Start a pod that the required pod affinity looks for (in the same {keys}), or make "
            "room beside those that there are."
        )
    if ANTI_AFFINITY in case.reasons:
        keys = ", ".join(_topology_keys(affinity.get("podAntiAffinity")))
        found.append(
            f"Add a node: each {keys} holds a pod that the required anti-affinity keeps apart. Or "
            "make it preferred."
        )
    if not found:
        found.append("Pods that run there want no such pod beside them: add a node.")
    return found


def _topology_keys(affinity: Obj | None) -> list[str]:
    terms = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return list(dict.fromkeys(term["topologyKey"] for term in terms))


def _volumes(case: Case) -> list[str]:
    names = ", ".join(claim_names(case.pod))
    if UNBOUND in case.reasons:
        return [
            f"See why its claims are not bound: kubectl describe persistentvolumeclaim {names}. "
            "They need a storage class with a provisioner, or a PersistentVolume that fits."
        ]
    if any("available persistent volumes to bind" in reason for reason in case.reasons):
        return [f"Make a PersistentVolume that fits its claims ({names}) and these nodes."]
    if any("free storage" in reason for reason in case.reasons):
        return [f"Free storage for its claims ({names}), or let them ask for less."]
    if any("node affinity" in reason for reason in case.reasons):
        return [f"Make room on the nodes that its volumes ({names}) are tied to."]
    return [f"Look after its claims: {names}."]


def _exclusive(case: Case) -> list[str]:
    if any("not found" in reason for reason in case.reasons):
        return [f"Create the claims that the pod names: {', '.join(claim_names(case.pod))}."]
    return ["Stop the pod that uses the volume: it admits only one."]


def _volume_limits(case: Case) -> list[str]:
    return ["Add a node, or free volumes: these nodes can attach no more."]


def _volume_zones(case: Case) -> list[str]:
    return ["Add a node in the zone of the pod's volumes, or make room there."]


def _devices(case: Case) -> list[str]:
    return ["See what its resource claims wait for: kubectl describe resourceclaims"]


def _features(case: Case) -> list[str]:
    names = ", ".join(needed_features(case.pod["spec"]))
    return [f"Add a node whose kubelet has the features that the pod needs: {names}."]


def _named(case: Case) -> list[str]:
    return ["Add the node that the pod asks for by name, or make room there."]


def _name(node: Obj) -> str:
    name: str = node["metadata"]["name"]
    return name


ADVICE: dict[str, Callable[[Case], list[str]]] = {
    "NodeUnschedulable": _cordoned,
    "NodeName": _named,
    "TaintToleration": _taints,
    "NodeAffinity": _labels,
    "NodePorts": _ports,
    "NodeResourcesFit": _resources,
    "VolumeRestrictions": _exclusive,
    "NodeVolumeLimits": _volume_limits,
    "VolumeBinding": _volumes,
    "VolumeZone": _volume_zones,
    "PodTopologySpread": _spreading,
    "InterPodAffinity": _affinity,
    "DynamicResources": _devices,
    "NodeDeclaredFeatures": _features,
}
