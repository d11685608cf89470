"""Nodes on this machine: started, killed at any moment, cleaned up without a trace.

The nodes run a real containerd without an agent. Everything runs in a network namespace that
stands for the machine, entered by a child process, so that nothing of the real one is touched.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import leftovers
import pytest
from network_lab import inside, make_machine, needs_root, run

from kybern.cluster.nodes import Node, NodeSpec, cgroup
from kybern.cluster.nodes.containerd import find_program
from kybern.testing.patience import PATIENCE

pytestmark = [
    needs_root,
    pytest.mark.root,
    pytest.mark.skipif(find_program("containerd") is None, reason="containerd is not installed"),
]

# Run as the machine: start or clean what is asked for.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from kybern.cluster.nodes import Node, NodeSpec, clean, ensure_switch, start
verb, directory = sys.argv[1], Path(sys.argv[2])

async def main():
    if verb == "clean":
        return await clean(directory, wipe=True)
    switch = await ensure_switch(directory) if verb in ("switch", "bridge") else None
    if verb == "bridge":
        return
    for index in range(2 if switch else 1):
        address = switch.node_ip(index) if switch else "192.168.77.1"
        spec = NodeSpec(f"n{index}", directory, bool(switch), address, directory / "kubeconfig",
                        components=())
        await start(Node(spec))

asyncio.run(main())
"""


class Machine:
    """A network namespace as the machine that nodes are started on."""

    def __init__(self, data_dir: Path) -> None:
        self.namespace = make_machine()
        self.data_dir = data_dir

    def close(self) -> None:
        self.do("clean")
        run("ip", "netns", "del", self.namespace)

    def do(self, verb: str) -> None:
        namespace = f"--net=/run/netns/{self.namespace}"
        run("nsenter", namespace, sys.executable, "-c", PROGRAM, verb, str(self.data_dir))

    def node(self, name: str = "n0") -> Node:
        return Node(NodeSpec(name, self.data_dir, False, "", self.data_dir))

    def processes(self) -> set[int]:
        return cgroup.processes(Path(self.node().cgroup).parts[0])

    def traces(self) -> dict[str, list[str]]:
        """All that these nodes could have left, by kind."""
        with inside(self.namespace):
            marks = (self.node().identity, str(self.data_dir))
            found = leftovers.traces(*marks, besides=("eth0", "wire"))
        if files := [str(path) for path in (self.data_dir / "nodes").glob("*")]:
            found["files"] = files
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def uplink_forwarding(machine: Machine) -> str:
    path = "/proc/sys/net/ipv4/conf/eth0/forwarding"
    return run("nsenter", f"--net=/run/netns/{machine.namespace}", "cat", path).strip()


@pytest.mark.parametrize("verb", ["machine", "switch"])
async def test_nodes_start_are_idempotent_and_leave_nothing(machine: Machine, verb: str) -> None:
    forwarding = uplink_forwarding(machine)
    machine.do(verb)
    before = machine.processes()
    assert before
    machine.do(verb)
    assert machine.processes() == before
    machine.do("clean")
    assert machine.traces() == {}
    assert uplink_forwarding(machine) == forwarding
    machine.do("clean")


@pytest.mark.parametrize("verb", ["machine", "switch"])
async def test_nodes_whose_every_process_was_killed_leave_nothing(
    machine: Machine, verb: str
) -> None:
    machine.do(verb)
    for process in machine.processes():
        os.kill(process, signal.SIGKILL)
    machine.do("clean")
    assert machine.traces() == {}


@pytest.mark.parametrize("verb", ["machine", "switch"])
async def test_nodes_come_back_after_every_process_was_killed(machine: Machine, verb: str) -> None:
    machine.do(verb)
    before = machine.processes()
    for process in before:
        os.kill(process, signal.SIGKILL)
    machine.do(verb)
    assert machine.processes() and not machine.processes() & before


async def test_a_bridge_that_no_node_reached_is_removed(machine: Machine) -> None:
    machine.do("bridge")
    assert "links" in machine.traces()
    machine.do("clean")
    assert machine.traces() == {}


async def test_a_supervisor_starts_containerd_again(machine: Machine) -> None:
    machine.do("machine")
    containerd = containerd_of(machine)
    os.kill(containerd, signal.SIGKILL)
    async with asyncio.timeout(10 * PATIENCE):
        while containerd_of(machine) in (0, containerd):
            await asyncio.sleep(0.05)


async def test_children_do_not_outlive_their_supervisor(machine: Machine) -> None:
    machine.do("machine")
    os.kill(int(machine.node().pid_file.read_text()), signal.SIGKILL)
    async with asyncio.timeout(10 * PATIENCE):
        while machine.processes():
            await asyncio.sleep(0.05)


def containerd_of(machine: Machine) -> int:
    """The process id of the node's containerd, 0 while there is none."""
    for process in machine.processes():
        try:
            if b"containerd\0--config" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
        except OSError:
            continue
    return 0


async def test_what_is_not_installed_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kybern.cluster.nodes import containerd

    monkeypatch.setattr(containerd, "find_program", lambda name: None)
    with pytest.raises(FileNotFoundError, match="containerd is not installed"):
        containerd.write(machine.node())


def test_the_supervisor_stays_small() -> None:
    """It lives as long as the node, so it must not carry what only starting a node needs."""
    program = (
        "import sys, kybern.cluster.nodes.supervisor\n"
        "print([m for m in ('pyroute2', 'aiohttp', 'grpc', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
