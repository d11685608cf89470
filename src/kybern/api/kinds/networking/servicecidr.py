"""ServiceCIDR, a range that service addresses are taken from."""

from kybern.api.errors import FieldError, Obj, invalid_value, required
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.addresses import canonical_cidr, parse_cidr
from kybern.api.validation.metadata import IMMUTABLE

_PATH = "spec.cidrs"


def _cidrs(obj: Obj) -> list[str]:
    return (obj.get("spec") or {}).get("cidrs") or []


def _check(obj: Obj) -> list[FieldError]:
    cidrs = _cidrs(obj)
    if not cidrs:
        return [required(_PATH, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid_value(_PATH, obj["spec"], "may only hold up to 2 values")]
    errors = [
        error for i, text in enumerate(cidrs) for error in canonical_cidr(text, f"{_PATH}[{i}]")
    ]
    families = [network.version for text in cidrs if (network := parse_cidr(text)) is not None]
    if len(families) == 2 and families[0] == families[1]:
        text = (
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
            "2001:db8::/64"
        )
        errors.append(invalid_value(_PATH, cidrs, text))
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    """Ranges in use do not change; a second family may join the first."""
    ours, theirs = _cidrs(new), _cidrs(old)
    if len(ours) != len(theirs) and (len(theirs), len(ours)) != (1, 2):
        return [invalid_value(_PATH, ours, IMMUTABLE)]
    errors = [
        invalid_value(f"{_PATH}[{i}]", after, IMMUTABLE)
        for i, (before, after) in enumerate(zip(theirs, ours, strict=False))
        if before != after
    ]
    return errors + (_check(new) if len(ours) > len(theirs) else [])


SERVICE_CIDR = Kind(
    group="networking.k8s.io",
    kind="ServiceCIDR",
    plural="servicecidrs",
    versions=("v1", "v1beta1"),
    namespaced=False,
    deprecations={
        "v1beta1": "networking.k8s.io/v1beta1 ServiceCIDR is deprecated in v1.34+, "
        "unavailable in v1.37+"
    },
    subresources=(status_of("ServiceCIDR"),),
    strategy=Strategy(
        namespaced=False,
        status=True,
        resets={"status": (("metadata",), ("spec",))},
        check=_check,
        check_update=_check_update,
        checks_on_update=0,
    ),
    columns=(
        NAME,
        Column("CIDRs", lambda o, now: ",".join(at("spec", "cidrs", default=())(o, now))),
        AGE,
    ),
)
