"""IPAddress, which says what a service address belongs to."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, field
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.addresses import parse_ip


def _canonical_address(name: str, prefix: bool = False) -> tuple[str, ...]:
    """The name is the address itself, in the one form that everybody writes it in."""
    parsed = parse_ip(name)
    canonical = parsed is not None and str(parsed) == name
    return () if canonical else ("must be a canonical format IP address",)


def _parent(address: Obj, now: float) -> str:
    parent = (address.get("spec") or {}).get("parentRef")
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
    namespaced=False,
    short_names=("ip",),
    strategy=Strategy(namespaced=False, name_rule=_canonical_address),
    columns=(NAME, Column("ParentRef", _parent), AGE),
    selectable_fields={
        "spec.parentRef.group": field("spec", "parentRef", "group"),
        "spec.parentRef.resource": field("spec", "parentRef", "resource"),
        "spec.parentRef.namespace": field("spec", "parentRef", "namespace"),
        "spec.parentRef.name": field("spec", "parentRef", "name"),
    },
)
