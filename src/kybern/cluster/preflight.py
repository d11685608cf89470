"""What has to be true of a machine before real nodes run on it, and how to make it true.

``examine`` gives every check's finding as data; ``kybern preflight`` prints them as text or JSON,
``kybern up`` and the demo stop at those that failed. Checks look, and try things out in network
namespaces of their own; they change nothing.
"""

import ipaddress
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kybern.cluster.nodes import cgroup
from kybern.cluster.nodes.containerd import cni_directory, find_program
from kybern.dns.forward import read_resolvers
from kybern.network.nftables.table import Skeleton

_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
_CONTROLLERS = ("cpu", "memory", "pids")
_PROBE_SECONDS = 20
_PACKAGES = {
    "debian": "apt-get install -y containerd runc crun containernetworking-plugins nftables"
    " conntrack iproute2",
    "fedora": "dnf install -y containerd runc crun containernetworking-plugins nftables"
    " conntrack-tools iproute",
    "arch": "pacman -S containerd runc crun cni-plugins nftables conntrack-tools iproute2",
}


class Outcome(StrEnum):
    """``failed`` keeps a node from working, ``warning`` keeps something from working."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One check's result: what was found, and what to do unless it is ok."""

    name: str
    outcome: Outcome
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Plan:
    """What is about to be started. ``ports`` must be free; none are if it runs already."""

    cluster_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    ports: tuple[int, ...] = (6443, 10250, 10256, 10053)
    resolv_conf: str = "/etc/resolv.conf"


def examine(plan: Plan) -> list[Finding]:
    """Every check in order; without root only those that need none."""
    findings = [_root()]
    checks: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
        _programs,
        _cgroups,
        _file_systems,
        _packet_features,
        _bridge_filter,
        _ranges,
        _other_firewalls,
        _resolvers,
        _ports,
    )
    for check in checks:
        findings.extend(check(plan))
    return findings


def _ok(name: str, detail: str) -> Finding:
    return Finding(name, Outcome.OK, detail)


def _failed(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, Outcome.FAILED, detail, fix)


def _warning(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, Outcome.WARNING, detail, fix)


def _root() -> Finding:
    if os.geteuid() != 0:
        return _failed(
            "root",
            "not root: real nodes need namespaces, mounts and cgroups",
            "run as root, or start simulated nodes: kybern up --nodes 0 --simulated-nodes 3",
        )
    status = Path("/proc/self/status").read_text()
    mask = int(re.search(r"^CapEff:\s*(\w+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    missing = [name for name, bit in _CAPABILITIES.items() if not mask >> bit & 1]
    if missing:
        return _failed(
            "root", f"root without {', '.join(missing)}", "run in a privileged container or a VM"
        )
    return _ok("root", "root with the capabilities that nodes need")


def _programs(plan: Plan) -> Iterator[Finding]:
    missing = [
        name
        for name in ("containerd", "ctr", "nft", "conntrack", "ip", "nsenter", "unshare")
        if find_program(name) is None
    ]
    if find_program("crun") is None and find_program("runc") is None:
        missing.append("crun or runc")
    if cni_directory() is None:
        missing.append("the CNI plugins")
    if missing:
        yield _failed("programs", f"not installed: {', '.join(missing)}", _install_command())
    else:
        yield _ok("programs", "containerd, a runtime, CNI plugins, nftables and conntrack are here")


def _install_command() -> str:
    """The package manager's line for this distribution and those it descends from."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        text = ""
    for family in re.findall(
        r"\w+", " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text, re.M))
    ):
        if family in _PACKAGES:
            return _PACKAGES[family]
    return "install containerd, runc or crun, the CNI plugins, nftables, conntrack and iproute2"


def _cgroups(plan: Plan) -> Iterator[Finding]:
    if cgroup.is_unified():
        version, found = "v2", set((cgroup.MOUNT / "cgroup.controllers").read_text().split())
    else:
        version, found = "v1", {root.name for root in cgroup.hierarchies()}
        found |= {part for name in found for part in name.split(",")}
    missing = [name for name in _CONTROLLERS if name not in found]
    if missing:
        yield _failed(
            "cgroups",
            f"cgroup {version} without {', '.join(missing)}",
            "mount them at /sys/fs/cgroup, or start the kernel with cgroup_enable=memory",
        )
    else:
        yield _ok("cgroups", f"cgroup {version} with {', '.join(_CONTROLLERS)}")


def _file_systems(plan: Plan) -> Iterator[Finding]:
    if "\toverlay\n" in Path("/proc/filesystems").read_text():
        yield _ok("overlayfs", "the kernel has overlayfs")
    else:
        yield _failed("overlayfs", "the kernel has no overlayfs", "modprobe overlay")


def _packet_features(plan: Plan) -> Iterator[Finding]:
    """Load the proxy's own table, and make the links that pods need, where nobody sees it."""
    if os.geteuid() != 0:
        return
    table = "\n".join(Skeleton(plan.cluster_cidr, plan.service_cidr, plan.cluster_cidr).lines())
    probes = {
        "nftables": (["nft", "-f", "-"], table + "\n", "nf_tables nft_fib_ipv4 nft_masq nft_nat"),
        "bridge": (["ip", "link", "add", "b0", "type", "bridge"], "", "bridge"),
        "veth": (["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], "", "veth"),
    }
    for name, (command, data, modules) in probes.items():
        problem = _probe(command, data)
        if problem:
            yield _failed(name, problem, f"modprobe -a {modules}, or use a kernel with them")
        else:
            yield _ok(name, f"the kernel does what nodes need of {name}")


def _probe(command: list[str], data: str) -> str:
    """Run a command in a new network namespace; its complaint, "" if there is none."""
    try:
        done = subprocess.run(
            ["unshare", "--net", *command],
            input=data,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip().splitlines()[0] if done.returncode else ""


def _bridge_filter(plan: Plan) -> Iterator[Finding]:
    if Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        yield _ok("br_netfilter", "Services work between pods of one node")
    else:
        yield _failed(
            "br_netfilter",
            "without it, Services do not work between two pods of one node",
            "modprobe br_netfilter; echo br_netfilter > /etc/modules-load.d/kybern.conf",
        )


def _ranges(plan: Plan) -> Iterator[Finding]:
    """A machine that already uses the cluster's addresses would lose the way to them."""
    ranges = {
        "--cluster-cidr": ipaddress.ip_network(plan.cluster_cidr),
        "--service-cluster-ip-range": ipaddress.ip_network(plan.service_cidr),
    }
    taken = list(_networks_in_use())
    clash = False
    for flag, wanted in ranges.items():
        for network, user in taken:
            if wanted.overlaps(network):
                clash = True
                yield _failed(
                    "addresses",
                    f"{wanted} overlaps {network} of {user}",
                    f"choose another range with {flag}",
                )
    if not clash:
        yield _ok("addresses", f"{plan.cluster_cidr} and {plan.service_cidr} are free")


def _networks_in_use() -> Iterator[tuple[ipaddress.IPv4Network, str]]:
    """Networks that the machine has routes to, apart from a cluster's own."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        device, destination, *rest = line.split()
        mask = rest[5]
        # A cluster's routes go to its bridges, and to lo where there is no other way.
        if int(mask, 16) and device != "lo" and not device.startswith("kybern"):
            yield ipaddress.IPv4Network((_address(destination), _address(mask))), device


def _address(hexadecimal: str) -> str:
    """An address of /proc/net/route, which is in the machine's byte order."""
    return str(ipaddress.IPv4Address(int(hexadecimal, 16).to_bytes(4, sys.byteorder)))


def _other_firewalls(plan: Plan) -> Iterator[Finding]:
    """What another table drops, none of ours can accept."""
    dropping = list(_forward_drops())
    if dropping:
        yield _warning(
            "forwarding",
            f"{', '.join(dropping)} drops forwarded packets by default: pods cannot leave the node",
            f"iptables -I FORWARD -s {plan.cluster_cidr} -j ACCEPT;"
            f" iptables -I FORWARD -d {plan.cluster_cidr} -j ACCEPT",
        )
    else:
        yield _ok("forwarding", "no other firewall drops forwarded packets")


def _forward_drops() -> Iterator[str]:
    nft = find_program("nft")
    if nft is not None and os.geteuid() == 0:
        done = subprocess.run([nft, "list", "chains"], capture_output=True, text=True, check=False)
        table = ""
        for line in done.stdout.splitlines():
            table = line.split("{")[0].strip() if line.startswith("table ") else table
            if "hook forward" in line and "policy drop" in line:
                yield f"nftables {table}"
    legacy = find_program("iptables-legacy")
    if legacy is not None and Path("/proc/net/ip_tables_names").exists() and os.geteuid() == 0:
        command = [legacy, "-S", "FORWARD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "-P FORWARD DROP" in done.stdout:
            yield "iptables"


def _resolvers(plan: Plan) -> Iterator[Finding]:
    found = read_resolvers(Path(plan.resolv_conf), frozenset())
    if found:
        yield _ok("resolvers", f"names outside the cluster are asked at {found[0][0]}")
    else:
        yield _warning(
            "resolvers",
            f"{plan.resolv_conf} names no resolver but this machine's own loopback address,"
            " which pods and namespaced nodes cannot reach",
            "kybern run dns --dns-upstream ADDRESS, or name one in the file",
        )


def _ports(plan: Plan) -> Iterator[Finding]:
    taken = [port for port in plan.ports if not _is_free(port)]
    if taken:
        listed = ", ".join(str(port) for port in taken)
        yield _failed(
            "ports",
            f"in use: {listed}",
            "stop what listens there (ss -ltnp), or choose another --secure-port",
        )
    else:
        yield _ok("ports", "the ports of the node and the control plane are free")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
