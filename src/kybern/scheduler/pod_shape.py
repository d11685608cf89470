"""Pod shape: everything about a pod that scheduling looks at, and nothing else.

Pods of one shape get the same answers, so shapes key the cache of pod classes. Volumes with random
names, unique labels that no selector looks at, and the pod's own name stay out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kybern.api.selectors import LabelSelector
from kybern.scheduler.affinity_terms import AffinityTerms, affinity_terms
from kybern.scheduler.ports import HostPort, host_ports
from kybern.scheduler.requests import Requests, fingerprint, requests_of

Obj = dict[str, Any]

SPEC_FIELDS = (
    "affinity",
    "nodeName",
    "nodeSelector",
    "priority",
    "tolerations",
    "topologySpreadConstraints",
)


@dataclass(slots=True)
class PodShape:
    """A pod as plugins see it. ``pod`` is one pod of this shape; read only what the key covers."""

    key: bytes
    pod: Obj
    spec: Obj
    namespace: str
    labels: dict[str, str]
    priority: int
    requests: Requests
    tolerations: list[Obj]
    ports: tuple[HostPort, ...]
    images: tuple[str, ...]
    container_count: int
    terms: AffinityTerms
    default_selector: LabelSelector | None = field(default=None)


def shape_key(
    pod: Obj,
    labels: tuple[tuple[str, str], ...],
    default_selector: str,
    storage: Sequence[Any] | None,
) -> bytes:
    """Equal for pods of one shape. ``labels`` are those that selectors in use look at.

    ``storage`` are the facts of pods that ask for some, with the version of what is there: such
    pods get a new shape with each change of claims and volumes.
    """
    spec = pod["spec"]
    return orjson.dumps(
        (
            pod["metadata"].get("namespace", ""),
            labels,
            default_selector,
            [spec.get(name) for name in SPEC_FIELDS],
            _containers(spec),
            storage,
            *needed_features(spec),
        )
    ) + fingerprint(pod)


def make_shape(
    key: bytes, pod: Obj, labels: dict[str, str], default_selector: LabelSelector | None
) -> PodShape:
    """Parse a pod's shape; done once a class."""
    spec = pod["spec"]
    inits = spec.get("initContainers") or []
    return PodShape(
        key=key,
        pod=pod,
        spec=spec,
        namespace=pod["metadata"].get("namespace", ""),
        labels=labels,
        priority=spec.get("priority") or 0,
        requests=requests_of(pod),
        tolerations=spec.get("tolerations") or [],
        ports=host_ports(spec),
        images=_images(spec),
        container_count=len(spec["containers"]) + len(inits),
        terms=affinity_terms(pod),
        default_selector=default_selector,
    )


def needed_features(spec: Obj) -> tuple[str, ...]:
    """Features that the pod's node has to declare."""
    found: list[str] = []
    if spec.get("hostUsers") is False and spec.get("hostNetwork"):
        found.append("UserNamespacesHostNetworkSupport")
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        rules = container.get("restartPolicyRules") or ()
        if any(rule.get("action") == "RestartAllContainers" for rule in rules):
            found.append("RestartAllContainersOnContainerExits")
            break
    return tuple(found)


def _containers(spec: Obj) -> list[Any]:
    """Images and host ports; what containers ask of resources is in the fingerprint."""
    parts: list[Any] = []
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        ports = container.get("ports")
        taken = [p for p in ports if p.get("hostPort")] if ports else None
        parts.append((container.get("image"), taken, container.get("restartPolicy")))
    for volume in spec.get("volumes") or ():
        if image := volume.get("image"):
            parts.append(image.get("reference"))
    return parts


def _images(spec: Obj) -> tuple[str, ...]:
    containers = (*(spec.get("initContainers") or ()), *spec["containers"])
    names = [container.get("image", "") for container in containers]
    volumes = (volume.get("image") for volume in spec.get("volumes") or ())
    names += [image.get("reference", "") for image in volumes if image]
    return tuple(names)
