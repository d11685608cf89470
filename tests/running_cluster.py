"""A cluster as its user has it: ``kybern up`` and ``kybern down`` on a data directory.

For the tests that kill its processes or run real nodes. Everything is found from the data
directory: the supervisor by its pid file, the processes that it keeps by their command lines.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import Resource
from kybern.client import ApiUnreachable, Client
from kybern.cluster import supervisor
from kybern.component.clock import Clock
from kybern.testing.patience import PATIENCE

PATIENCE_SECONDS = 120.0 * PATIENCE


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def kybern(*arguments: str) -> str:
    """Run the command; its output. Fails with all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "kybern.cluster.cli", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass
class RunningCluster:
    """One data directory's cluster. A client belongs to the event loop that made it."""

    data_dir: Path
    flags: tuple[str, ...]

    def up(self) -> None:
        """Start, or bring back what is not running."""
        timeout = f"--timeout={PATIENCE_SECONDS:.0f}"
        kybern("up", f"--data-dir={self.data_dir}", "--quiet", timeout, *self.flags)

    def down(self) -> None:
        """Stop everything and remove every file."""
        kybern("down", f"--data-dir={self.data_dir}", "--quiet", "--wipe")

    def client(self) -> Client:
        return Client.from_kubeconfig(str(self.data_dir / "kubeconfig"), Clock())

    def supervisor(self) -> int:
        process = supervisor.running(self.data_dir)
        assert process is not None, "the control plane's supervisor does not run"
        return process

    def processes(self) -> dict[str, int]:
        """The control plane's processes by their first component: apiserver, hollow, ..."""
        parent = self.supervisor()
        found = {}
        for process in _children(parent):
            words = command_line(process)
            if "run" in words:
                found[words[words.index("run") + 1]] = process
        return found

    async def replaced(self, name: str, old: int) -> None:
        """Wait until the supervisor has another process of this name."""
        await until(lambda: _truth(self.processes().get(name, old) != old))


def _children(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(number) for number in text.split()]


def command_line(process: int) -> list[str]:
    """The words of a process's command; none when it is gone, or dead and not yet buried."""
    try:
        text = Path(f"/proc/{process}/cmdline").read_bytes().decode()
    except OSError:
        return []
    return text.split("\0") if text else []


def kill(*processes: int) -> None:
    """End processes without a chance to say goodbye."""
    for process in processes:
        os.kill(process, signal.SIGKILL)


async def gone(processes: list[int]) -> None:
    """Wait until none of these processes lives."""
    await until(lambda: _truth(not any(command_line(process) for process in processes)))


async def _truth(value: bool) -> bool:
    return value


async def until(
    condition: Callable[[], Awaitable[Any]], patience: float = PATIENCE_SECONDS
) -> None:
    """Wait for a condition, also across outages of the API server."""
    async with asyncio.timeout(patience):
        while True:
            try:
                if await condition():
                    return
            except ApiUnreachable:
                pass
            except StatusError as error:
                if error.code < 500 and error.code not in (403, 404, 409, 429):
                    raise
            await asyncio.sleep(0.05)


async def eventually(call: Callable[[], Awaitable[Obj]], patience: float = PATIENCE_SECONDS) -> Obj:
    """Make a call until it is answered; only outages are waited for."""
    async with asyncio.timeout(patience):
        while True:
            try:
                return await call()
            except ApiUnreachable:
                await asyncio.sleep(0.02)


async def ready_pods(client: Client, pods: Resource, selector: str) -> dict[str, Obj]:
    """The Ready pods that a selector finds and that nobody has asked to end, by name."""
    found, _ = await client.list_all(pods, "default", label_selector=selector)
    return {
        objects.name(pod): pod
        for pod in found
        if objects.is_pod_ready(pod) and "deletionTimestamp" not in pod["metadata"]
    }
