"""IngressClass."""

from kybern.api.errors import FieldError, Obj, field_forbidden, not_supported, required, too_long
from kybern.api.kinds.columns import AGE, NONE, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import annotations, name
from kybern.api.validation.fields import dns_subdomain, named
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import dns_label, is_http_path, is_path_segment

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


def _default(ingress_class: Obj) -> None:
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def _name(ingress_class: Obj, now: float) -> str:
    is_default = annotations(ingress_class).get(DEFAULT_CLASS) == "true"
    return name(ingress_class) + (" (default)" if is_default else "")


def _parameters(ingress_class: Obj, now: float) -> str:
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is None:
        return NONE
    kind = parameters.get("kind", "")
    if parameters.get("apiGroup") is not None:
        kind += "." + parameters["apiGroup"]
    return f"{kind}/{parameters.get('name', '')}"


COLUMNS = (
    Column("Name", _name, format="name"),
    Column("Controller", at("spec", "controller")),
    Column("Parameters", _parameters),
    AGE,
)


_MAX_CONTROLLER = 250
_SCOPES = ("Cluster", "Namespace")


def _check(ingress_class: Obj) -> list[FieldError]:
    spec = ingress_class.get("spec") or {}
    controller, at = spec.get("controller", ""), "spec.controller"
    errors: list[FieldError] = []
    host, slash, rest = controller.partition("/")
    if len(controller) > _MAX_CONTROLLER:
        errors.append(too_long(at, _MAX_CONTROLLER))
    if not controller:
        errors.append(required(at))
    elif not (slash and host and rest):
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors += named((text,), controller, at)
    else:
        errors += dns_subdomain(host, at) + named(is_http_path(rest), rest, at)
    parameters = spec.get("parameters")
    return errors + (_check_parameters(parameters) if parameters is not None else [])


def _check_parameters(parameters: Obj) -> list[FieldError]:
    path = "spec.parameters"
    group = parameters.get("apiGroup")
    errors = dns_subdomain(group, f"{path}.apiGroup") if group is not None else []
    for field in ("kind", "name"):
        value, at = parameters.get(field, ""), f"{path}.{field}"
        errors += named(is_path_segment(value), value, at) if value else [required(at)]
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        return [*errors, required(f"{path}.scope")]
    if scope not in _SCOPES:
        return [*errors, not_supported(f"{path}.scope", scope, _SCOPES)]
    at = f"{path}.namespace"
    if namespace is None:
        text = "`parameters.scope` is set to 'Namespace'"
        return [*errors, required(at, text)] if scope == "Namespace" else errors
    if scope == "Namespace":
        return errors + named(dns_label(namespace), namespace, at)
    return [*errors, field_forbidden(at, "`parameters.scope` is set to 'Cluster'")]


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    return immutable(after.get("controller"), before.get("controller"), "spec.controller")


INGRESS_CLASS = Kind(
    group="networking.k8s.io",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    strategy=Strategy(
        metadata_checks=2,
        check=_check,
        check_update=_check_update,
        default=_default,
        namespaced=False,
        generation=spec_changed,
    ),
    columns=COLUMNS,
)
