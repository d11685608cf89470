"""The columns of ``kubectl get services``."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, label_map
from kybern.api.kinds.kind import Column


def _cluster_ip(service: Obj, now: float) -> str:
    addresses = (service.get("spec") or {}).get("clusterIPs")
    return str(addresses[0]) if addresses else NONE


def load_balancer(status: Obj | None) -> str:
    """The addresses or names that a load balancer answers on, sorted."""
    entries = ((status or {}).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(sorted({e.get("ip") or e.get("hostname") or "" for e in entries} - {""}))


def _external_ip(service: Obj, now: float) -> str:
    spec = service.get("spec") or {}
    external = ",".join(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return external or NONE
        case "LoadBalancer":
            balancer = load_balancer(service.get("status"))
            return ",".join(filter(None, (balancer, external))) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _ports(service: Obj, now: float) -> str:
    shown = []
    for port in (service.get("spec") or {}).get("ports") or ():
        number = f"{port.get('port', 0)}"
        if port.get("nodePort"):
            number += f":{port['nodePort']}"
        shown.append(f"{number}/{port.get('protocol', '')}")
    return ",".join(shown) or NONE


SERVICE_COLUMNS = (
    NAME,
    Column("Type", at("spec", "type")),
    Column("Cluster-IP", _cluster_ip),
    Column("External-IP", _external_ip),
    Column("Port(s)", _ports),
    AGE,
    Column("Selector", lambda o, now: label_map(at("spec", "selector")(o, now)), priority=1),
)
