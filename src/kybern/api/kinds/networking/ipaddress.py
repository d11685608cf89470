"""IPAddress, which says what a service address belongs to."""

from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.kinds.columns import AGE, NAME, NONE
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.addresses import ip_problems
from kybern.api.validation.fields import dns_subdomain, named
from kybern.api.validation.metadata import IMMUTABLE
from kybern.api.validation.names import is_path_segment


def _canonical_address(name: str, prefix: bool = False) -> tuple[str, ...]:
    """The name is the address itself, in the one form that everybody writes it in."""
    return ip_problems(name)


def _parent_reference(address: Obj) -> Obj | None:
    return (address.get("spec") or {}).get("parentRef")


def _check(address: Obj) -> list[FieldError]:
    parent = _parent_reference(address)
    path = "spec.parentRef"
    if parent is None:
        return [required(path)]
    errors = dns_subdomain(parent["group"], f"{path}.group") if parent.get("group") else []
    for name in ("resource", "name", "namespace"):
        value = parent.get(name, "")
        if value:
            errors += named(is_path_segment(value), value, f"{path}.{name}")
        elif name != "namespace":
            errors.append(required(f"{path}.{name}"))
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    parent = _parent_reference(new)
    if parent == _parent_reference(old):
        return []
    return [invalid_value("spec.parentRef", parent, IMMUTABLE), *_check(new)]


def _parent(address: Obj, now: float) -> str:
    parent = _parent_reference(address)
    if not parent:
        return NONE
    resource = parent.get("resource", "")
    if parent.get("group"):
        resource += "." + parent["group"]
    parts = (resource.lower(), parent.get("namespace", ""), parent.get("name", ""))
    return "/".join(part for i, part in enumerate(parts) if part or i != 1)


IP_ADDRESS = Kind(
    group="networking.k8s.io",
    kind="IPAddress",
    plural="ipaddresses",
    versions=("v1", "v1beta1"),
    namespaced=False,
    deprecations={
        "v1beta1": "networking.k8s.io/v1beta1 IPAddress is deprecated in v1.34+, "
        "unavailable in v1.37+"
    },
    short_names=("ip",),
    strategy=Strategy(
        metadata_checks=2,
        namespaced=False,
        name_rule=_canonical_address,
        check=_check,
        check_update=_check_update,
        checks_on_update=0,
    ),
    columns=(NAME, Column("ParentRef", _parent), AGE),
)
