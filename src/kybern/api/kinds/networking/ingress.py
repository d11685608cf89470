"""Ingress."""

from kybern.api.errors import FieldError, Obj, invalid_value, not_supported, required
from kybern.api.kinds.columns import AGE, NAME, NONE, at
from kybern.api.kinds.core.service_columns import load_balancer
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.addresses import ip, parse_ip
from kybern.api.validation.fields import named, port_number
from kybern.api.validation.names import (
    dns_label,
    dns_subdomain,
    is_dns1123_subdomain,
    is_port_name,
    is_wildcard_subdomain,
)

_SHOWN = 3


def _create(ingress: Obj) -> None:
    ingress["status"] = {"loadBalancer": {}}


def _hosts(ingress: Obj, now: float) -> str:
    rules = (ingress.get("spec") or {}).get("rules") or []
    hosts: list[str] = []
    more = False
    for rule in rules:
        if len(hosts) == _SHOWN:
            more = True
            break
        if rule.get("host"):
            hosts.append(rule["host"])
    if not hosts:
        return "*"
    shown = ",".join(hosts)
    return f"{shown} + {len(rules) - _SHOWN} more..." if more else shown


def _ports(ingress: Obj, now: float) -> str:
    return "80, 443" if (ingress.get("spec") or {}).get("tls") else "80"


COLUMNS = (
    NAME,
    Column("Class", at("spec", "ingressClassName", default=NONE)),
    Column("Hosts", _hosts),
    Column("Address", lambda o, now: load_balancer(o.get("status"))),
    Column("Ports", _ports),
    AGE,
)


CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_NOT_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_NOT_AT_END = ("/..", "/.")
_NOT_AN_IP = "must be a DNS name, not an IP address"


def _check(ingress: Obj) -> list[FieldError]:
    spec = ingress.get("spec") or {}
    errors: list[FieldError] = []
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and backend is None:
        text = "either `defaultBackend` or `rules` must be specified"
        errors.append(invalid_value("spec", spec.get("rules"), text))
    if backend is not None:
        errors += _check_backend(backend, "spec.defaultBackend")
    for i, rule in enumerate(rules):
        errors += _check_rule(rule, f"spec.rules[{i}]")
    for i, tls in enumerate(spec.get("tls") or ()):
        for j, host in enumerate(tls.get("hosts") or ()):
            errors += _check_host(host, f"spec.tls[{i}].hosts[{j}]")
        secret = tls.get("secretName")
        if secret:
            errors += named(dns_subdomain(secret), secret, f"spec.tls[{i}].secretName")
    name = spec.get("ingressClassName")
    if name is not None:
        errors += named(dns_subdomain(name), name, "spec.ingressClassName")
    return errors


def _check_new(ingress: Obj) -> list[FieldError]:
    errors = _check(ingress)
    annotation = (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    name = (ingress.get("spec") or {}).get("ingressClassName")
    if None not in (annotation, name) and annotation != name:
        text = "must match `ingressClassName` when both are specified"
        errors.append(invalid_value(f"annotations.{CLASS_ANNOTATION}", annotation, text))
    return errors


def _check_host(host: str, path: str) -> list[FieldError]:
    check = is_wildcard_subdomain if "*" in host else is_dns1123_subdomain
    return named(check(host), host, path)


def _check_rule(rule: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    host, http = rule.get("host"), rule.get("http")
    if host:
        if parse_ip(host) is not None:
            errors.append(invalid_value(f"{path}.host", host, _NOT_AN_IP))
        errors += _check_host(host, f"{path}.host")
    if http is None:
        return errors
    if not http.get("paths"):
        errors.append(required(f"{path}.http.paths"))
    for i, entry in enumerate(http.get("paths") or ()):
        errors += _check_path(entry, f"{path}.http.paths[{i}]")
    return errors


def _check_path(entry: Obj, path: str) -> list[FieldError]:
    kind, text, at = entry.get("pathType"), entry.get("path", ""), f"{path}.path"
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    errors: list[FieldError] = []
    if kind not in _PATH_TYPES:
        errors.append(not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    elif not text.startswith("/") and (text or kind != "ImplementationSpecific"):
        errors.append(invalid_value(at, text, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        for part in _NOT_IN_PATHS:
            if part in text:
                errors.append(invalid_value(at, text, f"must not contain '{part}'"))
        for part in _NOT_AT_END:
            if text.endswith(part):
                errors.append(invalid_value(at, text, f"cannot end with '{part}'"))
    return errors + _check_backend(entry.get("backend") or {}, f"{path}.backend")


def _check_backend(backend: Obj, path: str) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None and service is not None:
        return [invalid_value(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        at = f"{path}.resource"
        return [required(f"{at}.{f}") for f in ("kind", "name") if not resource.get(f)]
    if service is None:
        return [invalid_value(path, "", "resource or service backend is required")]
    name, port = service.get("name", ""), service.get("port") or {}
    at = f"{path}.service"
    errors = named(dns_label(name), name, f"{at}.name") if name else [required(f"{at}.name")]
    if port.get("name") and port.get("number"):
        errors.append(invalid_value(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        errors += named(is_port_name(port["name"]), port["name"], f"{at}.port.name")
    elif port.get("number"):
        errors += port_number(port["number"], f"{at}.port.number")
    else:
        errors.append(required(path, "port name or number is required"))
    return errors


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    balancer = (new.get("status") or {}).get("loadBalancer") or {}
    for i, entry in enumerate(balancer.get("ingress") or ()):
        at = f"status.loadBalancer.ingress[{i}]"
        if entry.get("ip"):
            errors += ip(entry["ip"], f"{at}.ip")
        host = entry.get("hostname")
        if host:
            errors += named(is_dns1123_subdomain(host), host, f"{at}.hostname")
            if parse_ip(host) is not None:
                errors.append(invalid_value(f"{at}.hostname", host, _NOT_AN_IP))
    return errors


def _warnings(ingress: Obj) -> list[str]:
    if CLASS_ANNOTATION not in (ingress["metadata"].get("annotations") or {}):
        return []
    return [
        f'annotation "{CLASS_ANNOTATION}" is deprecated, please use '
        "'spec.ingressClassName' instead"
    ]


INGRESS = Kind(
    group="networking.k8s.io",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    subresources=(status_of("Ingress"),),
    resource_prefix="/registry/ingress",
    strategy=Strategy(
        metadata_checks=2,
        check=_check_new,
        checks_on_update=0,
        check_update=lambda new, old: _check(new),
        check_status=_check_status,
        warnings=_warnings,
        update_warnings=lambda new, old: [],
        create=_create,
        status=True,
        generation=spec_changed,
    ),
    columns=COLUMNS,
)
