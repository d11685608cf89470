"""IngressClass."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NONE, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import annotations, name

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


INGRESS_CLASS = Kind(
    group="networking.k8s.io",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    strategy=Strategy(default=_default, namespaced=False, generation=spec_changed),
    columns=COLUMNS,
)
