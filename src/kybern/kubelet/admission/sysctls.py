"""Which kernel parameters pods may set: upstream's safe ones, and those that the node allows.

A parameter is safe if it belongs to a namespace of the pod and no other pod feels it. Others may be
allowed by name or prefix (``--allowed-unsafe-sysctls``), as long as the kernel keeps them apart at
all. A pod that shares the namespace with the node may not set it there. Pure.
"""

from collections.abc import Iterable

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.admission.predicates import Refusal

_REASON = "SysctlForbidden"
# Namespaced in every kernel since 4.15.
_SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
_NAMESPACES = {
    "kernel.sem": "ipc",
    "kernel.shm": "ipc",
    "kernel.msg": "ipc",
    "fs.mqueue.": "ipc",
    "net.": "net",
}
# The pod's fields that give it the node's own namespace.
_SHARED = {"ipc": "hostIPC", "net": "hostNetwork"}


class SysctlAllowlist:
    """One node's; raises BadFlag for a pattern of parameters that have no namespaces."""

    def __init__(self, unsafe: Iterable[str]) -> None:
        patterns = [dotted(pattern) for pattern in (*_SAFE, *unsafe)]
        for pattern in patterns:
            if not _namespace(pattern):
                raise BadFlag(f'the sysctls "{pattern}" are not known to be namespaced')
        self._names = {pattern for pattern in patterns if not pattern.endswith("*")}
        self._prefixes = tuple(p.removesuffix("*") for p in patterns if p.endswith("*"))

    def judge(self, pod: Obj) -> Refusal | None:
        """Why the node does not take the pod, None if it may set what it wants to set."""
        context = pod["spec"].get("securityContext") or {}
        for sysctl in context.get("sysctls") or ():
            name = dotted(sysctl["name"])
            if name not in self._names and not name.startswith(self._prefixes):
                return Refusal(_REASON, f'forbidden sysctl: "{name}" not allowlisted')
            namespace = _namespace(name)
            if pod["spec"].get(_SHARED[namespace]):
                why = f'"{name}" not allowed with host {namespace} enabled'
                return Refusal(_REASON, f"forbidden sysctl: {why}")
        return None


def dotted(name: str) -> str:
    """``net/ipv4/conf/eth0.1/x`` as ``net.ipv4.conf.eth0/1.x``: whichever comes first separates."""
    first = min((name.find(sign) for sign in "./" if sign in name), default=-1)
    if first < 0 or name[first] == ".":
        return name
    return name.translate(str.maketrans("./", "/."))


def _namespace(pattern: str) -> str:
    name = pattern.removesuffix("*")
    return next((kind for start, kind in _NAMESPACES.items() if name.startswith(start)), "")
