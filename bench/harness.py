"""What the measurements share: servers to measure, what they cost, and how figures are printed.

A :class:`Server` is a running API server with its processes, port and an administrator's
credentials. :func:`kybern_server` starts Kybern's, :func:`peer_server` starts kube-apiserver on
etcd where their binaries are found. Everything runs on loopback in a temporary directory, and
everything that was started is stopped.
"""

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kybern.component import pki
from kybern.component.clock import Clock

PATIENCE_SECONDS = 90.0
POLL_SECONDS = 0.02
KYBERN = [sys.executable, "-m", "kybern.cluster.cli"]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """``pids`` are all processes that a request may cost CPU in."""

    name: str
    port: int
    pids: list[int]
    ca: Path
    certificate: Path
    key: Path
    seconds_to_ready: float = 0.0

    def cpu(self) -> float:
        """CPU seconds spent so far by all processes."""
        return sum(cpu_seconds(pid) for pid in self.pids)

    @property
    def access(self) -> dict[str, object]:
        """What a load needs to connect."""
        return {
            "port": self.port,
            "ca": str(self.ca),
            "certificate": str(self.certificate),
            "key": str(self.key),
        }


def cpu_seconds(pid: int) -> float:
    """User and system time of one process and of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mb(pids: Sequence[int]) -> float:
    """Proportional set size in MB: shared pages count once over all processes that share them."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def descendants(pid: int) -> list[int]:
    """The process and all that it started."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is stopped at the end; its output goes to ``log``."""
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def run_quietly(command: Sequence[str]) -> None:
    """Run to the end; raises CalledProcessError with the output."""
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def last_words(log: Path) -> str:
    """The end of what a process wrote."""
    return log.read_text()[-2000:]


async def ready(server: Server, running: subprocess.Popen[bytes], log: Path) -> None:
    """Return once /readyz answers 200; raises TimeoutError, SystemExit if the process ends."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                if server.certificate.exists():
                    context.load_cert_chain(server.certificate, server.key)
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", server.port, ssl=context
                    )
                    writer.write(
                        b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
                    )
                    answer = await reader.read()
                    writer.close()
                    if answer.startswith(b"HTTP/1.1 200"):
                        return
            except OSError:
                pass
            if running.poll() is not None:
                raise SystemExit(f"{server.name} ended: {last_words(log)}")
            await asyncio.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def kybern_server(directory: Path) -> AsyncIterator[Server]:
    """Kybern's API server on its SQLite store."""
    start, port = time.perf_counter(), free_port()
    command = [*KYBERN, "run", "apiserver", "--data-dir", str(directory)]
    command += ["--bind-address=127.0.0.1", f"--secure-port={port}"]
    command += ["--enable-admission-plugins=NodeRestriction"]
    log = directory / "kybern.log"
    with process(command, log) as running:
        certificates = directory / "pki"
        server = Server(
            "kybern",
            port,
            [running.pid],
            certificates / "ca.crt",
            certificates / "admin.crt",
            certificates / "admin.key",
        )
        await ready(server, running, log)
        server.seconds_to_ready = time.perf_counter() - start
        # The kubeconfig says that the server has published itself, too.
        while not (directory / "kubeconfig").exists():
            await asyncio.sleep(POLL_SECONDS)
        yield server


@contextlib.contextmanager
def etcd_server(directory: Path, etcd: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """One member on loopback, which may take a second to answer."""
    command = [etcd, "--data-dir", str(directory / "etcd")]
    command += [f"--listen-client-urls=http://127.0.0.1:{port}"]
    command += [f"--advertise-client-urls=http://127.0.0.1:{port}"]
    command += [f"--listen-peer-urls=http://127.0.0.1:{free_port()}"]
    with process(command, directory / "etcd.log") as running:
        yield running


@contextlib.asynccontextmanager
async def peer_server(directory: Path, kube_apiserver: str, etcd: str) -> AsyncIterator[Server]:
    """kube-apiserver on etcd, with its usual admission and authorization."""
    authority = pki.CertificateAuthority.create("bench", Clock())
    authority.pair.save(directory, "ca")
    authority.issue_server("kube-apiserver", ["127.0.0.1", "10.96.0.1"]).save(directory, "server")
    authority.issue_client("admin", ["system:masters"]).save(directory, "admin")
    pki.load_or_create_key(directory, "sa")
    start = time.perf_counter()
    client, port = free_port(), free_port()
    server_command = [
        kube_apiserver,
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory}",
        f"--tls-cert-file={directory}/server.crt",
        f"--tls-private-key-file={directory}/server.key",
        f"--client-ca-file={directory}/ca.crt",
        f"--service-account-key-file={directory}/sa.pub",
        f"--service-account-signing-key-file={directory}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
    ]
    log = directory / "kube-apiserver.log"
    with (
        etcd_server(directory, etcd, client) as store,
        process(server_command, log) as running,
    ):
        server = Server(
            "kube-apiserver",
            port,
            [running.pid, store.pid],
            directory / "ca.crt",
            directory / "admin.crt",
            directory / "admin.key",
        )
        await ready(server, running, log)
        server.seconds_to_ready = time.perf_counter() - start
        yield server


def find_binary(given: str, name: str) -> str:
    """The path that was given, else what PATH has; empty where there is none."""
    return given or shutil.which(name) or ""


def row(*cells: object) -> None:
    """One line of a table whose first column is wide."""
    first, *others = (str(cell) for cell in cells)
    print(f"{first:42}" + "".join(f"{cell:>14}" for cell in others), flush=True)
