"""Which nodes a DaemonSet runs on, what its pods look like there, which of them are too many.

Pure functions for ``daemonset.py``. A daemon pod is bound to its node by the scheduler: it requires
a node of that name by its affinity, and tolerates what troubles a node.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.node_fit import matches_node, untolerated
from kybern.controllers.replicas import pod_from_template
from kybern.controllers.revisions import HASH_LABEL
from kybern.controllers.share import share

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
HOST_NETWORK_TOLERATED = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(slots=True)
class Plan:
    """What one look at the nodes asks for."""

    create: list[str] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)


def daemon_spec(daemon_set: Obj) -> Obj:
    """The template's pod spec with the tolerations that every daemon pod gets."""
    spec: Obj = objects.copy(daemon_set["spec"]["template"]["spec"])
    held = spec.get("tolerations") or []
    wanted = [*TOLERATED, *([HOST_NETWORK_TOLERATED] if spec.get("hostNetwork") else [])]
    added = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    spec["tolerations"] = held + [one for one in added if one not in held]
    return spec


def fit(daemon_set: Obj, spec: Obj, node: Obj) -> tuple[bool, bool]:
    """(should run, may go on running) for a DaemonSet's ``daemon_spec`` on a node."""
    name = spec.get("nodeName")
    if (name and name != objects.name(node)) or not matches_node(spec, node):
        return False, False
    taints = node["spec"].get("taints") or ()
    if untolerated(spec, taints, "NoSchedule", "NoExecute"):
        return False, not untolerated(spec, taints, "NoExecute")
    return True, True


def target_node(pod: Obj) -> str:
    """The node that a daemon pod is on, or is meant for; empty if it does not say."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for one in term.get("matchFields") or ():
            if (
                one["key"] == "metadata.name"
                and one["operator"] == "In"
                and len(one["values"]) == 1
            ):
                return str(one["values"][0])
    return ""


def pod_for(daemon_set: Obj, spec: Obj, node: str, hashed: str) -> Obj:
    """The daemon pod for a node."""
    pod = objects.copy(pod_from_template(daemon_set, daemon_set["spec"]["template"]))
    pod["spec"] = objects.copy(spec)
    labels = pod["metadata"].setdefault("labels", {})
    labels[HASH_LABEL] = hashed
    generation = objects.annotations(daemon_set).get(TEMPLATE_GENERATION)
    if generation:
        labels[GENERATION_LABEL] = generation
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    named = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [{**term, "matchFields": named} for term in terms]
    return pod


def is_updated(daemon_set: Obj, pod: Obj, hashed: str) -> bool:
    """The pod was made from the present template."""
    labels = objects.labels(pod)
    generation = objects.annotations(daemon_set).get(TEMPLATE_GENERATION)
    same_generation = bool(generation) and labels.get(GENERATION_LABEL) == generation
    return same_generation or labels.get(HASH_LABEL) == hashed


def bounds(daemon_set: Obj, desired: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero, or nothing could move."""
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", 0), desired, True)
    unavailable = share(rolling.get("maxUnavailable", 1), desired, True)
    return surge, unavailable or (0 if surge else 1)


def allows_surge(daemon_set: Obj) -> bool:
    return bounds(daemon_set, 1)[0] > 0


def by_seniority(pods: Iterable[Obj]) -> list[Obj]:
    """Bound before unbound, then the older: the first is the one that stays."""
    return sorted(
        pods,
        key=lambda pod: (
            not pod["spec"].get("nodeName"),
            pod["metadata"].get("creationTimestamp") or "",
            objects.name(pod),
        ),
    )


def surplus(daemon_set: Obj, running: Sequence[Obj], hashed: str, now: float) -> list[Obj]:
    """Of a node's running daemon pods those that are too many.

    One may stay; with surge an old and a new one, until the new one is available or the old one
    is not ready.
    """
    ordered = by_seniority(running)
    if not allows_surge(daemon_set):
        return ordered[1:]
    if len(ordered) <= 1:
        return []
    new = [pod for pod in ordered if objects.labels(pod).get(HASH_LABEL) == hashed]
    old = [pod for pod in ordered if objects.labels(pod).get(HASH_LABEL) != hashed]
    extra = [*new[1:], *old[1:]]
    delay = daemon_set["spec"].get("minReadySeconds", 0)
    if (
        new
        and old
        and (not objects.is_pod_ready(old[0]) or objects.is_pod_available(new[0], delay, now))
    ):
        extra.append(old[0])
    return extra
