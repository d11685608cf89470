"""One node's supervisor: ``python -m kybern.cluster.nodes.supervisor NODE.json``.

Starts containerd and the agent (``kybern run kubelet proxy dns local-path``), starts them again
when they die, after a pause that doubles up to ten seconds, and stops them on SIGTERM. Its children
die with it; containers do not, and are found again by the next one. In a namespaced node it is the
first process, so it reaps what others leave behind, and its end is the end of everything in the
node.

Plain and synchronous, because it has to be small and must not die: it waits for signals, looks at
its children, and sleeps.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kybern.cluster.nodes import cgroup, inside
from kybern.cluster.nodes.spec import Node

FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
STOP_SECONDS = 10.0
# Written by the proxy (kybern.network.cni), whose imports this small process does without.
CNI_FILE = "10-kybern.conflist"
# Routes from the machine to the nodes' pods carry this number.
ROUTE_PROTOCOL = 122
_TURN_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """One process that is kept running."""

    name: str
    command: list[str]
    environment: dict[str, str]
    due: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS
    started: float = 0.0
    process: subprocess.Popen[bytes] | None = None


def children(node: Node) -> list[Child]:
    """containerd, and the agent if it has any component."""
    environment = dict(os.environ)
    config = node.containerd / "config.toml"
    found = [Child("containerd", ["containerd", "--config", str(config)], environment)]
    if node.spec.components:
        kubeconfig = {"KUBECONFIG": str(node.spec.kubeconfig)}
        found.append(Child("agent", agent_command(node), environment | kubeconfig))
    return found


def agent_command(node: Node) -> list[str]:
    """The command line of ``kybern run`` for this node."""
    spec = node.spec
    flags = {
        "hostname-override": spec.name,
        "node-ip": spec.node_ip,
        "cluster-dns": spec.cluster_dns,
        "cluster-domain": spec.cluster_domain,
    }
    if "kubelet" in spec.components:
        flags |= {
            "root-dir": str(node.kubelet_root),
            "container-runtime-endpoint": f"unix://{node.socket}",
            "cgroup-root": "/" if spec.namespaced else f"/{node.cgroup}",
            "client-ca-file": str(spec.data_dir / "pki" / "ca.crt"),
        }
    if {"proxy", "dns"} & set(spec.components):
        flags |= {
            "cluster-cidr": spec.cluster_cidr,
            "service-cluster-ip-range": spec.service_cidr,
        }
    if "proxy" in spec.components:
        flags |= {
            "cni-conf-dir": str(node.cni_conf_dir),
            "cni-data-dir": str(node.cni_data_dir),
            "cni-network-name": node.cni_network,
            "sysctl-record": "" if spec.namespaced else str(node.sysctl_record),
        }
    if "local-path" in spec.components:
        flags["local-path-dir"] = str(node.local_path_dir)
    command = [sys.executable, "-m", "kybern.cluster.cli", "run", *spec.components]
    return [*command, *(f"--{name}={value}" for name, value in flags.items()), *spec.flags]


class Supervisor:
    """Keeps the children of one node running until it is told to stop."""

    def __init__(self, kept: list[Child], route: "PodRoute | None") -> None:
        self._children = kept
        self._route = route
        self._stopping = False

    def run(self) -> None:
        """Return after SIGTERM, when all children have ended."""
        numbers = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        while not self._stopping:
            self._start_due()
            if self._route is not None:
                self._route.keep()
            received = signal.sigtimedwait(numbers, _TURN_SECONDS)
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._stopping = True
            self._reap()
        for child in reversed(self._children):
            self._stop(child)

    def _start_due(self) -> None:
        for child in self._children:
            if child.process is None and time.monotonic() >= child.due:
                child.started = time.monotonic()
                _say(f"starting {child.name}")
                child.process = subprocess.Popen(
                    child.command,
                    stdin=subprocess.DEVNULL,
                    env=child.environment,
                    preexec_fn=_die_with_parent,
                )

    def _reap(self) -> None:
        """Collect every dead process: our children, and orphans that fell to the first process."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            for child in self._children:
                if child.process is not None and child.process.pid == process:
                    child.process.returncode = os.waitstatus_to_exitcode(status)
                    self._ended(child)

    def _ended(self, child: Child) -> None:
        assert child.process is not None
        now = time.monotonic()
        if now - child.started > STEADY_SECONDS:
            child.pause = FIRST_PAUSE_SECONDS
        code = child.process.returncode
        if not self._stopping:
            _say(f"{child.name} ended with {code}; again in {child.pause:.1f} s")
        child.process = None
        child.due = now + child.pause
        child.pause = min(child.pause * 2, MAX_PAUSE_SECONDS)

    def _stop(self, child: Child) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        if child.process is not None:
            child.process.send_signal(signal.SIGTERM)
        while child.process is not None:
            if time.monotonic() > deadline:
                child.process.send_signal(signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, _TURN_SECONDS)
            self._reap()


class PodRoute:
    """The machine's route to the pods of a namespaced node, once the node has a pod CIDR.

    The CIDR is read from the CNI configuration that the agent writes. The supervisor is inside the
    node, so the machine's own network namespace is an open file that it was started with.
    """

    def __init__(self, node: Node, machine: int) -> None:
        self._file = node.cni_conf_dir / CNI_FILE
        self._gateway = node.spec.node_ip
        self._machine = machine
        self._stamp = 0

    def keep(self) -> None:
        """Set the route if the configuration has changed."""
        try:
            stamp = self._file.stat().st_mtime_ns
            if stamp == self._stamp:
                return
            plugin = json.loads(self._file.read_text())["plugins"][0]
            subnet = plugin["ipam"]["ranges"][0][0]["subnet"]
        except (OSError, ValueError, LookupError):
            return
        # Added, never replaced: on a machine with two clusters of one range, the first keeps it.
        self._stamp = stamp
        namespace = f"--net=/proc/self/fd/{self._machine}"
        route = ("ip", "route", "add", subnet, "via", self._gateway)
        done = subprocess.run(
            ["nsenter", namespace, *route, "proto", str(ROUTE_PROTOCOL)],
            pass_fds=(self._machine,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            _say(f"no route from the machine to {subnet}: {done.stderr.strip()}")


def _die_with_parent() -> None:
    """Runs in the child: unblocked signals, and an end that follows the supervisor's."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):
        os.write(2, f"{stamp} supervisor: {text}\n".encode())


def hold_lock(node: Node) -> Callable[[], None] | None:
    """Take the node's lock, which says that its supervisor lives; None if another has it."""
    descriptor = os.open(node.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return lambda: os.close(descriptor)


def main(spec_file: str, machine: str = "") -> int:
    """Set the node up around this process and supervise it; 1 if another supervisor does.

    ``machine`` is the open file of the machine's network namespace, for namespaced nodes.
    """
    node = Node.load(Path(spec_file))
    release = hold_lock(node)
    if release is None:
        _say(f"another supervisor runs for {node.name}")
        return 1
    if node.spec.namespaced:
        inside.enter(node)
    cgroup.join("system" if node.spec.namespaced else cgroup.system_of(node.cgroup))
    route = PodRoute(node, int(machine)) if machine else None
    Supervisor(children(node), route).run()
    release()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
