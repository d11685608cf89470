"""Upstream's own components as processes, for the tests that put them beside Kybern's.

Binaries are found by an environment variable (``KUBE_SCHEDULER`` and the like) or on the PATH; a
test that misses one skips and says which. All that they write goes into the test's directory.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kybern.apiserver.config import Config
from kybern.apiserver.credentials import prepare, write_admin_kubeconfig
from kybern.component.clock import Clock
from running_cluster import free_port

STOP_SECONDS = 20.0


def binaries(*names: str) -> dict[str, str]:
    """The paths of upstream's programs; skips the test if one is missing."""
    found = {}
    for name in names:
        variable = name.upper().replace("-", "_")
        path = shutil.which(os.environ.get(variable) or name)
        if path is None:
            pytest.skip(f"needs upstream's {name}: set {variable} or put it on the PATH")
        found[name] = path
    return found


@dataclass
class Processes:
    """What a test has started, each with a log of its own."""

    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str) -> None:
        """Run a program until the end of the test."""
        number = len(self.running)
        with (self.directory / f"{number}-{Path(command[0]).name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.directory
            )
        self.running.append(process)

    def kybern(self, *arguments: str) -> None:
        """Run Kybern's components."""
        self.start(sys.executable, "-m", "kybern.cluster.cli", "run", *arguments)

    def dead(self) -> list[str]:
        """The commands that have ended by themselves."""
        return [" ".join(map(str, p.args)) for p in self.running if p.poll() is not None]  # type: ignore[arg-type]

    def stop(self) -> None:
        """End all, the last one first."""
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def processes(directory: Path) -> Iterator[Processes]:
    started = Processes(directory)
    try:
        yield started
    finally:
        started.stop()


def upstream_api_server(run: Processes, programs: dict[str, str], *flags: str) -> Path:
    """kube-apiserver on an etcd of its own; the kubeconfig of its administrator.

    Certificates are Kybern's, laid out as kubeadm lays them out, so they serve both.
    """
    port = free_port()
    config = Config(data_dir=str(run.directory), bind_address="127.0.0.1", secure_port=port)
    credentials = prepare(config, Clock())
    config = credentials.config
    etcd = _etcd(run, programs["etcd"])
    run.start(
        programs["kube-apiserver"],
        f"--etcd-servers={etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--client-ca-file={config.client_ca_file}",
        f"--tls-cert-file={config.tls_cert_file}",
        f"--tls-private-key-file={config.tls_private_key_file}",
        f"--service-account-issuer={config.service_account_issuer[0]}",
        f"--service-account-key-file={config.service_account_key_file[0]}",
        f"--service-account-signing-key-file={config.service_account_signing_key_file}",
        f"--service-cluster-ip-range={config.service_cluster_ip_range}",
        "--authorization-mode=Node,RBAC",
        *flags,
    )
    return write_admin_kubeconfig(credentials, port)


def _etcd(run: Processes, program: str) -> str:
    url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    run.start(
        program,
        f"--data-dir={run.directory / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    )
    return url


def kybern_api_server(run: Processes) -> Path:
    """Kybern's API server alone; the path at which it leaves its administrator's kubeconfig."""
    run.kybern(
        "apiserver",
        f"--data-dir={run.directory}",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
    )
    return run.directory / "kubeconfig"


def upstream_control_loops(run: Processes, programs: dict[str, str], kubeconfig: Path) -> None:
    """kube-controller-manager and kube-scheduler, speaking protobuf as is their default."""
    access = [
        f"--{purpose}={kubeconfig}"
        for purpose in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    ]
    pki = run.directory / "pki"
    run.start(
        programs["kube-controller-manager"],
        *access,
        f"--secure-port={free_port()}",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--flex-volume-plugin-dir={run.directory / 'volume-plugins'}",
    )
    run.start(
        programs["kube-scheduler"],
        *access,
        f"--secure-port={free_port()}",
        "--bind-address=127.0.0.1",
    )
