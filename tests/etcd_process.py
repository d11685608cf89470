"""A real etcd on loopback for tests: Debian's ``etcd-server``, its data gone afterwards."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from kybern.rpc.etcd import EtcdClient, Tls

BINARY = shutil.which("etcd")


@dataclass(frozen=True)
class Pems:
    """Files of an authority, of the certificate that serves and of the one that clients show."""

    authority: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path

    @property
    def tls(self) -> Tls:
        files = (self.authority, self.client_certificate, self.client_key)
        return Tls(*(file.read_bytes() for file in files))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Etcd:
    """One member; ``start`` again after ``kill`` to see what was durable."""

    directory: Path
    pems: Pems | None = None
    port: int = field(default_factory=_free_port)
    peer_port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.pems else 'http'}://127.0.0.1:{self.port}"

    def client(self) -> EtcdClient:
        return EtcdClient([self.url], self.pems.tls if self.pems else None)

    def start(self) -> None:
        """Returns when it is healthy."""
        assert BINARY is not None
        peer = f"http://127.0.0.1:{self.peer_port}"
        command = [
            BINARY,
            f"--data-dir={self.directory}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--heartbeat-interval=20",
            "--election-timeout=200",
        ]
        if self.pems:
            command += [
                f"--cert-file={self.pems.certificate}",
                f"--key-file={self.pems.key}",
                f"--trusted-ca-file={self.pems.authority}",
                "--client-cert-auth",
            ]
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_healthy()

    def _wait_until_healthy(self) -> None:
        assert self.process is not None
        context = None
        if self.pems:
            context = ssl.create_default_context(cafile=str(self.pems.authority))
            context.load_cert_chain(self.pems.client_certificate, self.pems.client_key)
        deadline = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, "etcd ended"
            try:
                with urllib.request.urlopen(f"{self.url}/health", context=context, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, "etcd does not get healthy"
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    async def away(self, seconds: float) -> None:
        """Kill it, and start it on the same data after a while."""
        self.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.start)


def directory_in_memory() -> Path:
    """For data that need not outlive the machine: many tests write, and none waits for a disk."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="kybern-etcd-", dir=memory if usable else None))
