"""Validation of pod specs, for pods and for the templates of workloads."""

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    required,
    too_long,
)
from kybern.api.validation.addresses import ip
from kybern.api.validation.affinity import affinity, spread_constraints, tolerations
from kybern.api.validation.containers import (
    containers,
    ephemeral_containers,
    facts_of,
    init_containers,
)
from kybern.api.validation.dns_config import DNS_POLICIES, dns_config
from kybern.api.validation.fields import (
    MAX_INT32,
    dns_label,
    dns_subdomain,
    named,
    one_of,
    qualified_name,
)
from kybern.api.validation.metadata import labels
from kybern.api.validation.names import between
from kybern.api.validation.names import dns_subdomain as object_name
from kybern.api.validation.resources import pod_resources, resource_amount, resource_name
from kybern.api.validation.security import host_users, pod_security_context
from kybern.api.validation.volumes import volumes

RESTART_POLICIES = ("Always", "OnFailure", "Never")
PREEMPTION_POLICIES = ("PreemptLowerPriority", "Never")
_MAX_HOSTNAME = 64

_NAMES = ("serviceAccountName", "nodeName")
_LABELS = ("hostname", "subdomain")


def pod_spec(spec: Obj, path: str, *, is_pod: bool) -> list[FieldError]:
    """Every error of a pod spec. ``is_pod`` is off for templates."""
    errors: list[FieldError] = []
    if spec.get("terminationGracePeriodSeconds") is None:
        errors.append(required(f"{path}.terminationGracePeriodSeconds"))
    sound: dict[str, Obj] = {}
    if spec.get("volumes"):
        sound, errors_of_volumes = volumes(spec["volumes"], f"{path}.volumes")
        errors += errors_of_volumes
    facts = facts_of(spec, sound)
    if spec.get("resourceClaims"):
        errors += _resource_claims(spec["resourceClaims"], f"{path}.resourceClaims")
    regular = spec.get("containers") or []
    errors += containers(regular, facts, f"{path}.containers")
    if spec.get("initContainers"):
        at = f"{path}.initContainers"
        errors += init_containers(spec["initContainers"], regular, facts, at)
    if spec.get("ephemeralContainers"):
        at = f"{path}.ephemeralContainers"
        errors += ephemeral_containers(spec["ephemeralContainers"], spec, facts, at)
    if spec.get("resources"):
        errors += pod_resources(spec["resources"], f"{path}.resources")
    if spec.get("hostNetwork"):
        errors += _host_network_ports(regular, f"{path}.containers", is_pod)
    errors += one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy")
    errors += one_of(spec.get("dnsPolicy"), DNS_POLICIES, f"{path}.dnsPolicy")
    errors += _placement(spec, path)
    errors += _identity(spec, path)
    return errors


def _placement(spec: Obj, path: str) -> list[FieldError]:
    """What says where and how the pod runs."""
    errors: list[FieldError] = []
    if spec.get("nodeSelector"):
        errors += labels(spec["nodeSelector"], f"{path}.nodeSelector")
    context = spec.get("securityContext")
    errors += pod_security_context(context, spec, f"{path}.securityContext")
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        at = f"{path}.securityContext.shareProcessNamespace"
        errors.append(invalid_value(at, True, text))
    if spec.get("affinity"):
        errors += affinity(spec["affinity"], f"{path}.affinity")
    errors += dns_config(spec.get("dnsConfig"), spec.get("dnsPolicy", ""), f"{path}.dnsConfig")
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        at = f"{path}.readinessGates[{i}].conditionType"
        errors += qualified_name(gate.get("conditionType", ""), at)
    if spec.get("schedulingGates"):
        errors += _scheduling_gates(spec["schedulingGates"], f"{path}.schedulingGates")
    if spec.get("topologySpreadConstraints"):
        at = f"{path}.topologySpreadConstraints"
        errors += spread_constraints(spec["topologySpreadConstraints"], at)
    return errors + host_users(spec, path)


def _identity(spec: Obj, path: str) -> list[FieldError]:
    """Names, deadlines and the rest of the spec."""
    errors: list[FieldError] = []
    if spec.get("hostnameOverride") is not None:
        errors += _hostname_override(spec, f"{path}.hostnameOverride")
    for name in _NAMES:
        value = spec.get(name)
        if value:
            errors += named(object_name(value), value, f"{path}.{name}")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        at = f"{path}.activeDeadlineSeconds"
        errors.append(invalid_value(at, deadline, between(1, MAX_INT32)))
    for name in _LABELS:
        if spec.get(name):
            errors += dns_label(spec[name], f"{path}.{name}")
    if spec.get("tolerations"):
        errors += tolerations(spec["tolerations"], f"{path}.tolerations")
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        errors += ip(alias.get("ip", ""), f"{path}.hostAliases[{i}].ip")
        for j, name in enumerate(alias.get("hostnames") or ()):
            errors += dns_subdomain(name, f"{path}.hostAliases[{i}].hostnames[{j}]")
    for name in ("priorityClassName", "runtimeClassName"):
        value = spec.get(name)
        if value or (value is not None and name == "runtimeClassName"):
            errors += named(object_name(value), value, f"{path}.{name}")
    if spec.get("preemptionPolicy") is not None:
        at = f"{path}.preemptionPolicy"
        errors += one_of(spec["preemptionPolicy"], PREEMPTION_POLICIES, at)
    for name, amount in (spec.get("overhead") or {}).items():
        errors += resource_name(name, f"{path}.overhead.limits[{name}]")
        errors += resource_amount(name, amount, f"{path}.overhead.limits[{name}]")
    if spec.get("os") is not None:
        errors += one_of(spec["os"].get("name"), ("linux", "windows"), f"{path}.os.name")
    return errors


def _hostname_override(spec: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(name):
            errors.append(field_forbidden(path, f"may not be specified when {name} is true"))
    if len(spec["hostnameOverride"]) > _MAX_HOSTNAME:
        errors.append(too_long(path, _MAX_HOSTNAME))
    return errors + dns_subdomain(spec["hostnameOverride"], path)


def _host_network_ports(held: list[Obj], path: str, is_pod: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, container in enumerate(held):
        for j, port in enumerate(container.get("ports") or ()):
            host, own = port.get("hostPort", 0), port.get("containerPort", 0)
            if (is_pod or host) and host != own:
                text = "must match `containerPort` when `hostNetwork` is true"
                errors.append(invalid_value(f"{path}[{i}].ports[{j}].hostPort", host, text))
    return errors


def _scheduling_gates(gates: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name", "")
        errors += qualified_name(name, f"{path}[{i}]")
        if name in seen:
            errors.append(duplicate(f"{path}[{i}]", name))
        seen.add(name)
    return errors


def _resource_claims(claims: list[Obj], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        at, name = f"{path}[{i}]", claim.get("name", "")
        if not name:
            errors.append(required(f"{at}.name"))
        elif name in seen:
            errors.append(duplicate(f"{at}.name", name))
        else:
            errors += dns_label(name, f"{at}.name")
            seen.add(name)
        given = ("resourceClaimName", "resourceClaimTemplateName")
        values = [claim.get(field) for field in given]
        if all(values):
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be "
            errors.append(invalid_value(at, claim, text + "specified"))
        if not any(values):
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(invalid_value(at, claim, text))
        for field, value in zip(given, values, strict=True):
            if value is not None:
                errors += named(object_name(value), value, f"{at}.{field}")
    return errors
