"""What happens to a Service's allocated fields when the Service changes.

Clients may leave out what the server allocated: it is put back from the old object. When a change
of type makes an allocated field meaningless, it goes, unless the client changed it, which
validation then refuses. The addresses and ports themselves are the API server's to allocate.
"""

from kybern.api.errors import Obj

_ADDRESSED = ("ClusterIP", "NodePort", "LoadBalancer")
_PORTED = ("NodePort", "LoadBalancer")


def needs_cluster_ip(spec: Obj) -> bool:
    return spec.get("type") in _ADDRESSED


def needs_node_ports(spec: Obj) -> bool:
    """Whether each port of the service has a port on every node."""
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def needs_health_check_node_port(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def externally_accessible(spec: Obj) -> bool:
    """Whether traffic from outside the cluster can reach the service."""
    if spec.get("type") in _PORTED:
        return True
    return spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))


def prepare_update(new: Obj, old: Obj) -> None:
    """Carry allocated values over, then drop what the new type has no use for."""
    after, before = new.setdefault("spec", {}), old.get("spec") or {}
    _carry_allocated(after, before)
    _drop_useless(after, before)
    if after.get("type") != "LoadBalancer" and "status" in new:
        new["status"] = {**(new["status"] or {}), "loadBalancer": {}}


def _carry_allocated(new: Obj, old: Obj) -> None:
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        for name in ("clusterIP", "clusterIPs"):
            if not new.get(name) and old.get(name):
                new[name] = old[name]
    if needs_node_ports(old) and needs_node_ports(new):
        _carry_node_ports(new, old)
    kept = needs_health_check_node_port(old) and needs_health_check_node_port(new)
    if kept and not new.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        new["healthCheckNodePort"] = old["healthCheckNodePort"]


def _carry_node_ports(new: Obj, old: Obj) -> None:
    """A port without a node port takes the one that its namesake had."""
    had = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports") or ()}
    kept = {port.get("nodePort", 0) for port in new.get("ports") or ()} & set(had.values())
    for port in new.get("ports") or ():
        if port.get("nodePort"):
            continue
        number = had.get(port.get("name", ""), 0)
        if number and number not in kept:
            port["nodePort"] = number


def _drop_useless(new: Obj, old: Obj) -> None:
    if needs_cluster_ip(old) and new.get("type") == "ExternalName":
        if all(new.get(name) == old.get(name) for name in ("clusterIP", "clusterIPs")):
            new.pop("clusterIP", None)
            new.pop("clusterIPs", None)
        for name in ("ipFamilies", "ipFamilyPolicy"):
            if new.get(name) == old.get(name):
                new.pop(name, None)
    if needs_node_ports(old) and not needs_node_ports(new) and _node_ports(new) <= _node_ports(old):
        for port in new.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_check_node_port(old) and not needs_health_check_node_port(new):
        _drop_if_same("healthCheckNodePort", new, old)
    if new.get("type") == "ExternalName" != old.get("type"):
        _drop_if_same("internalTrafficPolicy", new, old)
    if old.get("type") == "LoadBalancer" and new.get("type") != "LoadBalancer":
        _drop_if_same("allocateLoadBalancerNodePorts", new, old)
        _drop_if_same("loadBalancerClass", new, old)
    if externally_accessible(old) and not externally_accessible(new):
        _drop_if_same("externalTrafficPolicy", new, old)


def _drop_if_same(name: str, new: Obj, old: Obj) -> None:
    if new.get(name) == old.get(name):
        new.pop(name, None)


def _node_ports(spec: Obj) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
