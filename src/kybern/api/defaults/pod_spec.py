"""Defaults of pod specs, for pods and for the templates of workloads.

A pod gets a little more than a template: requests from limits, service links, host ports. Called
for every write of a pod or workload, so there is one pass and no copying.
"""

from typing import Any

from kybern.api.defaults.images import default_pull_policy
from kybern.api.defaults.volumes import default_volumes
from kybern.api.errors import Obj


def default_pod(pod: Obj) -> None:
    """Defaults of a Pod."""
    spec = pod.get("spec")
    if spec is None:
        spec = pod["spec"] = {}
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            _requests_from_limits(container.get("resources"))
    if "enableServiceLinks" not in spec:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        _host_ports(spec)
    default_pod_spec(spec)


def default_template(template: Obj) -> None:
    """Defaults of the pod template inside a workload."""
    spec = template.get("spec")
    if spec is None:
        spec = template["spec"] = {}
    default_pod_spec(spec)


def default_pod_spec(spec: Obj) -> None:
    """Defaults that pods and templates have in common."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        # The second is the first one's old name, and is always shown beside it.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    if spec.get("volumes"):
        default_volumes(spec["volumes"])
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            default_container(container)
    default_resource_list(spec.get("overhead"))


def default_container(container: Obj) -> None:
    """Defaults of a container, also of init and ephemeral ones."""
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = default_pull_policy(container.get("image", ""))
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    resources = container.get("resources")
    if resources is None:
        container["resources"] = {}
    elif resources:
        default_resource_list(resources.get("limits"))
        default_resource_list(resources.get("requests"))
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source:
            default_field_ref(source.get("fieldRef"))
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if field in container:
            _probe(container[field])
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for field in ("postStart", "preStop"):
            _http_get((lifecycle.get(field) or {}).get("httpGet"))


def default_field_ref(reference: Obj | None) -> None:
    if reference is not None and not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"


def default_resource_list(resources: dict[str, Any] | None) -> None:
    """Amounts finer than a thousandth are rounded up to one."""
    for name, amount in (resources or {}).items():
        if isinstance(amount, str) and amount[-1:] in "nu":
            resources[name] = _rounded_up(amount)  # type: ignore[index]


def _rounded_up(amount: str) -> str:
    divisor = 1_000_000 if amount.endswith("n") else 1_000
    try:
        thousandths = -(-int(amount[:-1]) // divisor)
    except ValueError:
        return amount
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def _requests_from_limits(resources: Obj | None) -> None:
    limits = resources.get("limits") if resources else None
    if resources is None or not limits:
        return
    requests = resources.get("requests")
    if requests is None:
        resources["requests"] = dict(limits)
        return
    for name, amount in limits.items():
        requests.setdefault(name, amount)


def _host_ports(spec: Obj) -> None:
    """In the host's network a container's ports are the host's."""
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            for port in container.get("ports") or ():
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def _probe(probe: Obj | None) -> None:
    if probe is None:
        return
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    _http_get(probe.get("httpGet"))
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def _http_get(action: Obj | None) -> None:
    if action is None:
        return
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"
