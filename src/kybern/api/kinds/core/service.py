"""Service: defaults by type, allocated fields, columns."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import field
from kybern.api.kinds.core.service_changes import externally_accessible, prepare_update
from kybern.api.kinds.core.service_columns import SERVICE_COLUMNS
from kybern.api.kinds.core.service_validation import check_service, check_service_update
from kybern.api.kinds.kind import PROXY, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.names import dns_label

_AFFINITY_SECONDS = 10800


def _default(service: Obj) -> None:
    spec = service.setdefault("spec", {})
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec.get("internalTrafficPolicy") is None and spec["type"] != "ExternalName":
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["type"] == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        balancer = (service.get("status") or {}).get("loadBalancer") or {}
        for entry in balancer.get("ingress") or ():
            if entry.get("ip") and entry.get("ipMode") is None:
                entry["ipMode"] = "VIP"


def _create(service: Obj) -> None:
    service["status"] = {"loadBalancer": {}}
    _same_addresses(service["spec"])


def _same_addresses(spec: Obj) -> None:
    """``clusterIP`` is the first of ``clusterIPs``; clients may set either alone."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _update(new: Obj, old: Obj) -> None:
    after, before = new.setdefault("spec", {}), old.get("spec") or {}
    one, many = after.get("clusterIP"), after.get("clusterIPs")
    same_one, same_many = one == before.get("clusterIP"), many == before.get("clusterIPs")
    if before.get("clusterIP") and not same_one and same_many:
        # Only the old field was written, so the newer one follows it.
        after["clusterIPs"] = [one] if one else []
    prepare_update(new, old)
    _same_addresses(after)


SERVICE = Kind(
    group="",
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    subresources=(
        Subresource("proxy", "ServiceProxyOptions", PROXY),
        status_of("Service"),
    ),
    resource_prefix="/registry/services/specs",
    strategy=Strategy(
        check=check_service,
        check_update=check_service_update,
        default=_default,
        create=_create,
        update=_update,
        name_rule=dns_label,
        status=True,
        allow_create_on_update=True,
    ),
    columns=SERVICE_COLUMNS,
    selectable_fields={
        "spec.clusterIP": field("spec", "clusterIP"),
        "spec.type": field("spec", "type"),
    },
)
