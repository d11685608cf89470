"""Questions about a pod's spec that many parts of the kubelet ask. Pure."""

import hashlib
from collections.abc import Iterator

import orjson

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity

SOURCE_ANNOTATION = "kubernetes.io/config.source"
DEFAULT_GRACE_SECONDS = 30
CRITICAL_PRIORITY = 2_000_000_000
RESTART_ALL = "RestartAllContainers"


def uid(pod: Obj) -> str:
    return pod["metadata"]["uid"]


def full_name(pod: Obj) -> str:
    """``name_namespace(uid)``, as events and messages name a pod."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}({meta['uid']})"


def init_containers(pod: Obj) -> list[Obj]:
    return pod["spec"].get("initContainers") or []


def containers(pod: Obj) -> list[Obj]:
    return pod["spec"].get("containers") or []


def ephemeral_containers(pod: Obj) -> list[Obj]:
    return pod["spec"].get("ephemeralContainers") or []


def all_containers(pod: Obj) -> Iterator[Obj]:
    """Every container of the pod, in the order they may start."""
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def find_container(pod: Obj, name: str) -> Obj | None:
    return next((c for c in all_containers(pod) if c["name"] == name), None)


def field_path(pod: Obj, name: str) -> str:
    """``spec.containers{name}``: how events point at one container."""
    for group in ("containers", "initContainers", "ephemeralContainers"):
        if any(c["name"] == name for c in pod["spec"].get(group) or ()):
            return f"spec.{group}{{{name}}}"
    return ""


def is_sidecar(container: Obj) -> bool:
    """Whether an init container keeps running beside the others."""
    return container.get("restartPolicy") == "Always"


def restart_policy(pod: Obj) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def could_restart_all(pod: Obj) -> bool:
    """Whether some end of a container restarts the whole pod."""
    return any(
        rule.get("action") == RESTART_ALL
        for container in (*init_containers(pod), *containers(pod))
        for rule in container.get("restartPolicyRules") or ()
    )


def restart_action(container: Obj, exit_code: int) -> str:
    """What the container's own rules say of an exit code; empty if none is about it."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or ())
        if listed == (codes.get("operator", "In") == "In"):
            return rule.get("action", "")
    return ""


def restarts_after(pod: Obj, container: Obj, exit_code: int) -> bool:
    """Whether a container that exited with ``exit_code`` is started again."""
    if restart_action(container, exit_code) in ("Restart", RESTART_ALL):
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def host_network(pod: Obj) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def is_static(pod: Obj) -> bool:
    """Whether the pod comes from this node's own manifests and not from the API."""
    source = (pod["metadata"].get("annotations") or {}).get(SOURCE_ANNOTATION, "api")
    return source != "api"


def is_critical(pod: Obj) -> bool:
    """Static pods and those of a system priority: the node gives them up last, or never."""
    return is_static(pod) or (pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def is_deleted(pod: Obj) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def grace_seconds(pod: Obj) -> int:
    """The grace that the pod's end is given: the delete request's, else the spec's."""
    if is_deleted(pod):
        requested = pod["metadata"].get("deletionGracePeriodSeconds")
        if requested is not None:
            return int(requested)
    declared = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_SECONDS if declared is None else int(declared)


def container_hash(container: Obj) -> str:
    """Changes when a running container no longer matches its spec; only the image is mutable."""
    told = orjson.dumps([container["name"], container.get("image", "")])
    return hashlib.blake2b(told, digest_size=8).hexdigest()


def resource_milli(container: Obj, kind: str, resource: str) -> int:
    """A container's request or limit in thousandths, 0 if it has none."""
    found = ((container.get("resources") or {}).get(kind) or {}).get(resource)
    return 0 if found is None else Quantity.parse(found).milli()


def resource_value(container: Obj, kind: str, resource: str) -> int:
    """A container's request or limit in whole units, 0 if it has none."""
    found = ((container.get("resources") or {}).get(kind) or {}).get(resource)
    return 0 if found is None else Quantity.parse(found).value()


def qos_class(pod: Obj) -> str:
    """Guaranteed, Burstable or BestEffort by cpu and memory requests and limits."""
    reported = (pod.get("status") or {}).get("qosClass")
    if reported:
        return reported
    named = False
    guaranteed = True
    shared = [pod["spec"]] if pod["spec"].get("resources") else []
    for container in shared or (*init_containers(pod), *containers(pod)):
        for resource in ("cpu", "memory"):
            request = resource_milli(container, "requests", resource)
            limit = resource_milli(container, "limits", resource)
            named = named or bool(request or limit)
            guaranteed = guaranteed and bool(limit) and request in (0, limit)
    if not named:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
