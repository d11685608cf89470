"""IngressClass."""

from kybern.api.errors import FieldError, Obj, not_supported, required
from kybern.api.kinds.columns import AGE, NONE, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import annotations, name
from kybern.api.validation.fields import dns_subdomain, named
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import is_http_path

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


_SCOPES = ("Cluster", "Namespace")


def _check(ingress_class: Obj) -> list[FieldError]:
    spec = ingress_class.get("spec") or {}
    controller, at = spec.get("controller", ""), "spec.controller"
    errors: list[FieldError] = []
    host, slash, rest = controller.partition("/")
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
    errors = [required(f"{path}.{f}") for f in ("kind", "name") if not parameters.get(f)]
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        return [*errors, required(f"{path}.scope")]
    if scope not in _SCOPES:
        return [*errors, not_supported(f"{path}.scope", scope, _SCOPES)]
    if scope == "Namespace" and not namespace:
        text = "`parameters.scope` is set to 'Namespace'"
        errors.append(required(f"{path}.namespace", text))
    if scope == "Cluster" and namespace is not None:
        text = "Forbidden: `parameters.scope` is set to 'Cluster'"
        errors.append(FieldError("FieldValueForbidden", f"{path}.namespace", text))
    return errors


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
