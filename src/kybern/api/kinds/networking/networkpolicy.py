"""NetworkPolicy."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, label_selector
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy, spec_changed


def _default(policy: Obj) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                if port.get("protocol") is None:
                    port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _selector(policy: Obj, now: float) -> str:
    return label_selector(at("spec", "podSelector", default=None)(policy, now))


NETWORK_POLICY = Kind(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    strategy=Strategy(default=_default, generation=spec_changed),
    columns=(NAME, Column("Pod-Selector", _selector), AGE),
)
