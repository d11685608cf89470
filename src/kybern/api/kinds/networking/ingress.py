"""Ingress."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, at
from kybern.api.kinds.core.service_columns import load_balancer
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed

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


INGRESS = Kind(
    group="networking.k8s.io",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    subresources=(status_of("Ingress"),),
    resource_prefix="/registry/ingress",
    strategy=Strategy(create=_create, status=True, generation=spec_changed),
    columns=COLUMNS,
)
