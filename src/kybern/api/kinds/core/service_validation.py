"""Validation of Services: ports, addresses, types, and what may change once it is set."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.core.service_changes import (
    externally_accessible,
    needs_health_check_node_port,
)
from kybern.api.validation.addresses import cidr, ip, non_special_ip, parse_ip
from kybern.api.validation.fields import (
    dns_label,
    dns_subdomain,
    one_of,
    port_number,
    port_or_name,
    qualified_name,
)
from kybern.api.validation.metadata import labels

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MAX_AFFINITY_SECONDS = 86400
_ONLY_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
_FIXED = "may not change once set"


def is_headless(spec: Obj) -> bool:
    return spec.get("clusterIPs") == ["None"]


def check_service(service: Obj) -> list[FieldError]:
    """Errors of a whole Service, beside those of its metadata."""
    spec = service.get("spec") or {}
    kind, headless = spec.get("type", ""), is_headless(spec)
    errors: list[FieldError] = []
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _check_type(spec, kind, headless)
    names: set[str] = set()
    for i, port in enumerate(ports):
        errors += _check_port(port, len(ports) > 1, names, f"spec.ports[{i}]")
    if spec.get("selector"):
        errors += labels(spec["selector"], "spec.selector")
    errors += _check_affinity(spec)
    if kind != "ExternalName":
        errors += check_cluster_ips(spec)
    for i, address in enumerate(spec.get("externalIPs") or ()):
        at = f"spec.externalIPs[{i}]"
        errors += ip(address, at) or non_special_ip(address, at)
    errors += one_of(kind, _TYPES, "spec.type")
    errors += _check_ports_together(ports, kind)
    errors += _check_balancer(spec, kind)
    return errors + _check_traffic(spec, kind)


def _check_type(spec: Obj, kind: str, headless: bool) -> list[FieldError]:
    if kind in ("LoadBalancer", "NodePort") and headless:
        text = f"may not be set to 'None' for {kind} services"
        return [invalid_value("spec.clusterIPs[0]", "None", text)]
    if kind != "ExternalName":
        return []
    text = "may not be set for ExternalName services"
    fields = ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
    errors = [field_forbidden(f"spec.{name}", text) for name in fields if spec.get(name)]
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [*errors, required("spec.externalName")]
    return errors + dns_subdomain(name, "spec.externalName")


def _check_port(port: Obj, needs_name: bool, names: set[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = port.get("name", "")
    if name:
        errors += dns_label(name, f"{path}.name")
        if name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
    elif needs_name:
        errors.append(required(f"{path}.name"))
    errors += port_number(port.get("port", 0), f"{path}.port")
    errors += one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol")
    errors += port_or_name(port.get("targetPort", 0), f"{path}.targetPort")
    if port.get("appProtocol") is not None:
        errors += qualified_name(port["appProtocol"], f"{path}.appProtocol")
    return errors


def _check_ports_together(ports: list[Obj], kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "ClusterIP":
        text = "may not be used when `type` is 'ClusterIP'"
        for i, port in enumerate(ports):
            if port.get("nodePort"):
                errors.append(field_forbidden(f"spec.ports[{i}].nodePort", text))
    for field in ("nodePort", "port"):
        seen: set[tuple[str, int]] = set()
        for i, port in enumerate(ports):
            number, protocol = port.get(field, 0), port.get("protocol", "")
            if field == "nodePort" and not number:
                continue
            if (protocol, number) in seen:
                errors.append(_duplicate_port(i, field, number, protocol))
            seen.add((protocol, number))
    return errors


def _duplicate_port(index: int, field: str, number: int, protocol: str) -> FieldError:
    at = f"spec.ports[{index}]"
    if field == "nodePort":
        return duplicate(f"{at}.nodePort", number)
    # Upstream shows the port as its internal type, empty fields and all.
    shown = {
        "Name": "",
        "Protocol": protocol,
        "AppProtocol": None,
        "Port": number,
        "TargetPort": 0,
        "NodePort": 0,
    }
    return duplicate(at, shown)


def _check_affinity(spec: Obj) -> list[FieldError]:
    affinity, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    errors = one_of(affinity, ("ClientIP", "None"), "spec.sessionAffinity")
    at = "spec.sessionAffinityConfig"
    if affinity == "None" and config is not None:
        errors.append(field_forbidden(at, "must not be set when session affinity is None"))
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        if seconds is None:
            text = "when session affinity type is ClientIP"
            errors.append(required(at, text))
        elif not 0 < seconds <= _MAX_AFFINITY_SECONDS:
            text = f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}"
            errors.append(invalid_value(f"{at}.clientIP.timeoutSeconds", seconds, text))
    return errors


def check_cluster_ips(spec: Obj) -> list[FieldError]:
    """Errors of the addresses and families of a Service that is not an ExternalName.

    Allocation asks too, before it takes any address.
    """
    at = "spec.clusterIPs"
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    errors: list[FieldError] = []
    if one and not many:
        errors.append(required(at))
    elif one and many[0] != one:
        errors.append(invalid_value(at, many, "first value must match `clusterIP`"))
    elif many and not one:
        text = "must be empty when `clusterIP` is not specified"
        errors.append(invalid_value(at, many, text))
    errors += _check_families(spec)
    wrong: list[FieldError] = []
    for i, address in enumerate(many):
        if i == 0 and address == "None":
            if len(many) > 1:
                text = "'None' must be the first and only value"
                wrong.append(invalid_value(at, many, text))
            continue
        wrong += ip(address, f"{at}[{i}]")
    errors += wrong
    if len(many) > 2:
        errors.append(invalid_value(at, many, "may only hold up to 2 values"))
    if wrong or is_headless(spec):
        return errors
    versions = [parsed.version for parsed in map(parse_ip, many) if parsed is not None]
    if len(many) > 1 and len(set(versions)) != 2:
        text = "may specify no more than one IP for each IP family"
        errors.append(invalid_value(at, many, text))
    for i, (version, family) in enumerate(
        zip(versions, spec.get("ipFamilies") or (), strict=False)
    ):
        if family in _FAMILIES and f"IPv{version}" != family:
            text = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            errors.append(invalid_value(f"{at}[{i}]", many[i], text))
    return errors


def _check_families(spec: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
    for i, family in enumerate(families):
        if family not in _FAMILIES:
            errors.append(not_supported(f"spec.ipFamilies[{i}]", family, _FAMILIES))
        if family in families[:i]:
            errors.append(duplicate(f"spec.ipFamilies[{i}]", family))
    if policy is not None and policy not in _FAMILY_POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES))
    return errors


def _check_balancer(spec: Obj, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    at = "spec.LoadBalancerSourceRanges"
    if spec.get("loadBalancerSourceRanges"):
        if kind != "LoadBalancer":
            errors.append(field_forbidden(at, _ONLY_BALANCERS))
        for i, text in enumerate(spec["loadBalancerSourceRanges"]):
            errors += cidr(text.strip(), f"{at}[{i}]")
    allocate, balancer = spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass")
    if allocate is not None and kind != "LoadBalancer":
        errors.append(field_forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCERS))
    if allocate is None and kind == "LoadBalancer":
        errors.append(required("allocateLoadBalancerNodePorts"))
    if balancer is not None:
        if kind == "LoadBalancer":
            errors += qualified_name(balancer, "spec.loadBalancerClass")
        else:
            errors.append(field_forbidden("spec.loadBalancerClass", _ONLY_BALANCERS))
    return errors


def _check_traffic(spec: Obj, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    external, at = spec.get("externalTrafficPolicy", ""), "spec.externalTrafficPolicy"
    if externally_accessible(spec):
        errors += one_of(external, _POLICIES, at)
    elif external:
        text = "may only be set for externally-accessible services"
        errors.append(invalid_value(at, external, text))
    health, at = spec.get("healthCheckNodePort", 0), "spec.healthCheckNodePort"
    if needs_health_check_node_port(spec):
        errors += port_number(health, at) if health else [required(at)]
    elif health:
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
        errors.append(invalid_value(at, health, text + "'Local'"))
    internal, at = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    if internal is None:
        if kind in ("ClusterIP", "LoadBalancer", "NodePort"):
            errors.append(required(at))
    elif internal not in _POLICIES:
        errors.append(not_supported(at, internal, _POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        errors.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return errors


def check_service_update(new: Obj, old: Obj) -> list[FieldError]:
    """Addresses, families and load balancer classes stay as they were first set."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors: list[FieldError] = []
    if "ExternalName" not in (after.get("type"), before.get("type")):
        errors += _check_kept_addresses(after, before)
    both_balancers = after.get("type") == before.get("type") == "LoadBalancer"
    if both_balancers and after.get("loadBalancerClass") != before.get("loadBalancerClass"):
        value = after.get("loadBalancerClass")
        errors.append(invalid_value("spec.loadBalancerClass", value, _FIXED))
    health = "healthCheckNodePort"
    checked = needs_health_check_node_port(after) and needs_health_check_node_port(before)
    if checked and after.get(health) != before.get(health):
        errors.append(field_forbidden(f"spec.{health}", "field is immutable"))
    return errors


def _check_kept_addresses(new: Obj, old: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    after, before = new.get("clusterIPs") or [], old.get("clusterIPs") or []
    at = "spec.clusterIPs[0]"
    if before and not after:
        errors.append(
            invalid_value(at, new.get("clusterIPs"), "primary clusterIP can not be unset")
        )
    for i, (one, other) in enumerate(zip(before, after, strict=False)):
        if one != other:
            errors.append(invalid_value(f"spec.clusterIPs[{i}]", after, _FIXED))
            break
    released = len(before) > len(after) == 1
    if released and new.get("ipFamilyPolicy") != "SingleStack":
        text = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        errors.append(invalid_value("spec.ipFamilyPolicy", new.get("ipFamilyPolicy"), text))
    families, had = new.get("ipFamilies") or [], old.get("ipFamilies") or []
    same_headless = is_headless(new) == is_headless(old) and not is_headless(new)
    if same_headless and families and had and families[0] != had[0]:
        errors.append(invalid_value("spec.ipFamilies[0]", families, _FIXED))
    return errors
