"""NetworkPolicy."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.columns import AGE, NAME, at, label_selector
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.addresses import cidr, parse_cidr
from kybern.api.validation.fields import port_number, port_or_name
from kybern.api.validation.label_selectors import label_selector as check_selector


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


_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")


def _check(policy: Obj) -> list[FieldError]:
    spec = policy.get("spec") or {}
    errors = check_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(direction) or ()):
            at = f"spec.{direction}[{i}]"
            for j, port in enumerate(rule.get("ports") or ()):
                errors += _check_port(port, f"{at}.ports[{j}]")
            for j, peer in enumerate(rule.get(peers) or ()):
                errors += _check_peer(peer, f"{at}.{peers}[{j}]")
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        text = "may not specify more than two policyTypes"
        errors.append(invalid_value("spec.policyTypes", types, text))
    for i, kind in enumerate(types):
        if kind not in _TYPES:
            errors.append(not_supported(f"spec.policyTypes[{i}]", kind, _TYPES))
    return errors


def _check_port(port: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    if number is not None:
        errors += port_or_name(number, f"{path}.port")
    if end is None:
        return errors
    if not isinstance(number, int):
        state = "not specified" if number is None else "non-numeric"
        text = f"may not be specified when `port` is {state}"
        return [*errors, invalid_value(f"{path}.endPort", end, text)]
    if end < number:
        text = "must be greater than or equal to `port`"
        errors.append(invalid_value(f"{path}.endPort", number, text))
    return errors + port_number(end, f"{path}.endPort")


def _check_peer(peer: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    given = [n for n in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(n) is not None]
    for name in given:
        if name == "ipBlock":
            errors += _check_block(peer[name], f"{path}.ipBlock")
        else:
            errors += check_selector(peer[name], f"{path}.{name}")
    if not given:
        errors.append(required(path, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        text = "may not specify both ipBlock and another peer"
        errors.append(field_forbidden(path, text))
    return errors


def _check_block(block: Obj, path: str) -> list[FieldError]:
    text = block.get("cidr", "")
    if not text:
        return [required(f"{path}.cidr")]
    errors = cidr(text, f"{path}.cidr")
    whole = parse_cidr(text)
    for i, excluded in enumerate(block.get("except") or () if whole else ()):
        at = f"{path}.except[{i}]"
        errors += cidr(excluded, at)
        part = parse_cidr(excluded)
        if part is None or whole is None:
            continue
        inside = part.version == whole.version and part.network_address in whole
        if not inside or whole.prefixlen >= part.prefixlen:
            errors.append(invalid_value(at, excluded, "must be a strict subset of `cidr`"))
    return errors


NETWORK_POLICY = Kind(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    strategy=Strategy(check=_check, default=_default, generation=spec_changed),
    columns=(NAME, Column("Pod-Selector", _selector), AGE),
)
