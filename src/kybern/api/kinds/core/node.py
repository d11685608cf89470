"""Node: its columns and what an update may change."""

from collections.abc import Callable

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, field
from kybern.api.kinds.kind import PROXY, Column, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import condition, labels

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _default(node: Obj) -> None:
    """A kubelet that reports capacity alone offers all of it."""
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
    strategy=Strategy(default=_default, namespaced=False, status=True),
    columns=COLUMNS,
    selectable_fields={"spec.unschedulable": field("spec", "unschedulable", default="false")},
)
