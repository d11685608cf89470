"""Node: its columns and what an update may change."""

from collections.abc import Callable

from kybern.api.errors import FieldError, Obj, duplicate, field_forbidden, invalid_value
from kybern.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, field
from kybern.api.kinds.kind import PROXY, Column, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import condition, labels
from kybern.api.validation.addresses import cidr, parse_cidr
from kybern.api.validation.resources import resource_amount
from kybern.api.validation.taints import taints

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _default(node: Obj) -> None:
    """A kubelet that reports capacity alone offers all of it."""
    _same_cidrs(node)
    status = node.get("status")
    if status and status.get("capacity") and status.get("allocatable") is None:
        status["allocatable"] = dict(status["capacity"])


def _status(node: Obj, now: float) -> str:
    ready = condition(node, "Ready")
    if ready is None:
        shown = ["Unknown"]
    else:
        shown = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _roles(node: Obj, now: float) -> str:
    roles = set()
    for key, value in labels(node).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            roles.add(key[len(_ROLE_PREFIX) :])
        elif key == _ROLE_LABEL and value:
            roles.add(value)
    return ",".join(sorted(roles)) or NONE


def _address(type_: str) -> Callable[[Obj, float], str]:
    def value(node: Obj, now: float) -> str:
        for address in (node.get("status") or {}).get("addresses") or ():
            if address.get("type") == type_:
                return str(address.get("address", ""))
        return NONE

    return value


def _info(name: str, absent: str = UNKNOWN) -> Callable[[Obj, float], str]:
    read = at("status", "nodeInfo", name)
    return lambda node, now: read(node, now) or absent


def _kernel(node: Obj, now: float) -> str:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    kernel = info.get("kernelVersion") or UNKNOWN
    return f"{kernel} ({info['architecture']})" if info.get("architecture") else kernel


COLUMNS = (
    NAME,
    Column("Status", _status),
    Column("Roles", _roles),
    AGE,
    Column("Version", _info("kubeletVersion", "")),
    Column("Internal-IP", _address("InternalIP"), priority=1),
    Column("External-IP", _address("ExternalIP"), priority=1),
    Column("OS-Image", _info("osImage"), priority=1),
    Column("Kernel-Version", _kernel, priority=1),
    Column("Container-Runtime", _info("containerRuntimeVersion"), priority=1),
)


_FROM_EMPTY = 'node updates may not change {} except from "" to valid'


def _check(node: Obj) -> list[FieldError]:
    spec = node.get("spec") or {}
    errors = taints(spec.get("taints") or [], "metadata.taints")
    return errors + _check_amounts(node)


def _check_amounts(node: Obj) -> list[FieldError]:
    status = node.get("status") or {}
    errors: list[FieldError] = []
    for group in ("capacity", "allocatable"):
        for name, amount in (status.get(group) or {}).items():
            errors += resource_amount(name, amount, f"status.{group}.{name}")
    return errors


def _check_new(node: Obj) -> list[FieldError]:
    errors = _check(node)
    ranges: list[str] = (node.get("spec") or {}).get("podCIDRs") or []
    for i, text in enumerate(ranges):
        errors += cidr(text, f"spec.podCIDRs[{i}]")
    families = {network.version for network in map(parse_cidr, ranges) if network is not None}
    if len(ranges) > 1 and len(families) != len(ranges):
        text = "may specify no more than one CIDR for each IP family"
        errors.append(invalid_value("spec.podCIDRs", ranges, text))
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    errors = _check_amounts(new)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    seen: list[Obj] = []
    for i, address in enumerate((new.get("status") or {}).get("addresses") or ()):
        if address in seen:
            errors.append(duplicate(f"status.addresses[{i}]", address))
        seen.append(address)
    if before.get("podCIDRs") and after.get("podCIDRs") != before["podCIDRs"]:
        errors.append(field_forbidden("spec.podCIDRs", _FROM_EMPTY.format("podCIDR")))
    if before.get("providerID") and after.get("providerID") != before["providerID"]:
        errors.append(field_forbidden("spec.providerID", _FROM_EMPTY.format("providerID")))
    return errors + taints(after.get("taints") or [], "metadata.taints")


def _same_cidrs(node: Obj) -> None:
    """``podCIDR`` is the first of ``podCIDRs``; clients may set either alone."""
    spec = node.get("spec") or {}
    one, many = spec.get("podCIDR"), spec.get("podCIDRs")
    if one and (not many or many[0] != one):
        spec["podCIDRs"] = [one]
    elif many and not one:
        spec["podCIDR"] = many[0]


NODE = Kind(
    group="",
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    subresources=(
        Subresource("proxy", "NodeProxyOptions", PROXY),
        status_of("Node"),
    ),
    resource_prefix="/registry/minions",
    strategy=Strategy(
        metadata_checks=2,
        status=True,
        create_keeps_status=True,
        check=_check_new,
        check_update=_check_update,
        check_status=_check_update,
        default=_default,
        namespaced=False,
    ),
    columns=COLUMNS,
    selectable_fields={"spec.unschedulable": field("spec", "unschedulable", default="false")},
)
