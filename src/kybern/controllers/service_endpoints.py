"""Which pods stand behind a Service, and under which ports.

Shared by the Endpoints and the EndpointSlice controllers, so that both tell the same story.
"""

from collections.abc import Iterable

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.selectors import LabelSelector
from kybern.client import Informer

HEADLESS = "service.kubernetes.io/headless"


def services_of(services: Informer, pod: Obj) -> Iterable[str]:
    """Keys of the Services that select a pod."""
    for service in services.list(objects.namespace(pod)):
        selector = objects.spec(service).get("selector")
        if selector and LabelSelector.from_labels(selector).matches(objects.labels(pod)):
            yield objects.key(service)


def selected_pods(service: Obj, pods: Informer) -> list[Obj]:
    """The pods that a Service selects, in the informer's order."""
    selector = LabelSelector.from_labels(service["spec"]["selector"])
    found = pods.list(objects.namespace(service))
    return [pod for pod in found if selector.matches(objects.labels(pod))]


def is_candidate(pod: Obj, include_terminating: bool) -> bool:
    """Whether a pod may be an endpoint at all: it has an address and has not ended."""
    if objects.is_pod_terminal(pod) or not objects.status(pod).get("podIP"):
        return False
    return include_terminating or not objects.is_deleting(pod)


def is_headless(service: Obj) -> bool:
    return service["spec"].get("clusterIP") == "None"


def addresses(pod: Obj) -> list[str]:
    status = objects.status(pod)
    listed = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
    return listed or [status["podIP"]]


def hostname(service: Obj, pod: Obj) -> str:
    """The pod's own DNS name below a headless Service that is its subdomain."""
    spec = pod["spec"]
    named = spec.get("hostname") and spec.get("subdomain") == objects.name(service)
    return spec["hostname"] if named else ""


def target_reference(pod: Obj) -> Obj:
    return {
        "kind": "Pod",
        "namespace": objects.namespace(pod),
        "name": objects.name(pod),
        "uid": objects.uid(pod),
    }


def endpoint_ports(service: Obj, pod: Obj) -> list[Obj]:
    """The Service's ports as this pod serves them; a name that the pod lacks is left out."""
    ports: list[Obj] = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is None:
            continue
        found = {"name": port.get("name", ""), "port": number, "protocol": port["protocol"]}
        if port.get("appProtocol"):
            found["appProtocol"] = port["appProtocol"]
        ports.append(found)
    return ports


def _target(port: Obj, pod: Obj) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *sidecars]:
        for offered in container.get("ports") or ():
            same = offered.get("protocol", "TCP") == port["protocol"]
            if same and offered.get("name") == target:
                return offered["containerPort"]
    return None


def shows_the_same(old: Obj | None, new: Obj | None) -> bool:
    """Whether a pod's change leaves every endpoint as it is: most status updates do."""
    if old is None or new is None:
        return False
    return _facts(old) == _facts(new)


def _facts(pod: Obj) -> tuple[object, ...]:
    return (
        objects.labels(pod),
        objects.status(pod).get("podIPs"),
        objects.status(pod).get("podIP"),
        objects.is_pod_ready(pod),
        objects.is_pod_terminal(pod),
        objects.is_deleting(pod),
        pod["spec"].get("nodeName"),
        objects.uid(pod),
    )
