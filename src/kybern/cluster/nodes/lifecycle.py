"""Starting and stopping nodes: what ``kybern up`` and ``kybern down`` call.

Blocking work is short and runs in worker threads. A node's lock file, held by its supervisor for
life, says whether it runs; its cgroup says what is alive of it.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from kybern.cluster.nodes import cgroup, containerd, leftovers
from kybern.cluster.nodes.spec import Node, known_nodes
from kybern.cluster.nodes.supervisor import STOP_SECONDS
from kybern.cluster.nodes.switch import connect, remove_switch
from kybern.kubelet.images import archive
from kybern.kubelet.images.pause import pause_image

_POLL_SECONDS = 0.02
_NAMESPACES = ("--mount", "--uts", "--pid", "--cgroup", "--fork", "--mount-proc")
_ANY_PUBLIC_ADDRESS = "192.0.2.1"
_SIOCGIFADDR = 0x8915


class NodeFailed(Exception):
    """A node did not come up; the message names the log."""


def machine_address() -> str:
    """The machine's own IPv4 address, as others reach it; raises OSError without any network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        # Nothing is sent: connecting a datagram socket only chooses a route and its address.
        probe.connect((_ANY_PUBLIC_ADDRESS, 9))
        return str(probe.getsockname()[0])
    for _, name in socket.if_nameindex():
        address = _device_address(name)
        if address and not address.startswith("127."):
            return address
    raise OSError("this machine has no network address but loopback")


def _device_address(name: str) -> str:
    """A device's first IPv4 address, "" if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, name.encode().ljust(40, b"\0"))
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def running(node: Node) -> int | None:
    """The supervisor's process id (of the machine's process namespace), None if none lives."""
    try:
        with open(node.lock_file) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(node.pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return None


async def start(node: Node, timeout: float = 30) -> None:
    """Start a node unless it runs; returns when its containerd can run pods.

    What a crash or a reboot left is removed first, unless containers are still alive: they are
    adopted. Raises NodeFailed, or FileNotFoundError naming a program that is not installed.
    """
    launched = await asyncio.to_thread(running, node) is None
    if launched:
        await asyncio.to_thread(_launch, node)
    try:
        async with asyncio.timeout(timeout):
            while not (running(node) and _answers(node.socket)):
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise NodeFailed(f"node {node.name} did not start; {node.log} says why") from None
    if launched:
        await archive.import_archive(str(node.socket), archive.build(pause_image()))
    if node.spec.namespaced:
        # Version 2 of cgroups has processes in leaves only; this is the last one that is not.
        supervisor = running(node)
        if supervisor is not None:
            await asyncio.to_thread(cgroup.join, cgroup.system_of(node.cgroup), supervisor)


def _launch(node: Node) -> None:
    if not cgroup.processes(node.cgroup):
        leftovers.remove(node)
    node.save()
    node.log.parent.mkdir(parents=True, exist_ok=True)
    containerd.write(node)
    command = [sys.executable, "-m", "kybern.cluster.nodes.supervisor", str(node.spec_file)]
    machine = -1
    if node.spec.namespaced:
        connect(node)
        machine = os.open("/proc/self/ns/net", os.O_RDONLY)
        isolation = ["nsenter", f"--net=/run/netns/{node.netns}", "unshare", *_NAMESPACES]
        isolation += ["--propagation", "private", "--kill-child"]
        command = [*isolation, *command, str(machine)]
        cgroup_of_node = node.cgroup
    else:
        cgroup_of_node = cgroup.system_of(node.cgroup)
    try:
        with open(node.log, "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(machine,) if machine >= 0 else (),
                preexec_fn=lambda: cgroup.join(cgroup_of_node),
            )
    finally:
        if machine >= 0:
            os.close(machine)
    partial = node.pid_file.with_suffix(".partial")
    partial.write_text(str(process.pid))
    partial.replace(node.pid_file)


def _answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


async def stop(node: Node) -> None:
    """Power a node off and remove what it left on the machine; files stay. Idempotent."""
    supervisor = running(node)
    if supervisor is not None:
        _ask_to_stop(node, supervisor)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while running(node) is not None:
                    await asyncio.sleep(_POLL_SECONDS)
    await asyncio.to_thread(cgroup.kill, node.cgroup)
    await asyncio.to_thread(leftovers.remove, node)
    node.pid_file.unlink(missing_ok=True)


def _ask_to_stop(node: Node, supervisor: int) -> None:
    """SIGTERM for the supervisor; in a namespaced node it is the child of ``unshare``."""
    targets = [supervisor]
    if node.spec.namespaced:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
            targets = [int(text) for text in children.split()]
    for process in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


async def clean(data_dir: Path, *, wipe: bool = False) -> None:
    """Stop all nodes of a data directory and leave nothing of them on the machine.

    Works whatever is still alive, and may be repeated. ``wipe`` removes their files as well.
    """
    known = known_nodes(data_dir)
    await asyncio.gather(*(stop(node) for node in known))
    for node in known if wipe else ():
        await asyncio.to_thread(shutil.rmtree, node.directory, ignore_errors=True)
    if (data_dir / "nodes").exists():
        await asyncio.to_thread(remove_switch, data_dir)
