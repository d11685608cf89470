"""Kubelets to measure, each as a process on the same API server and container runtime.

:func:`kybern_kubelet` and :func:`upstream_kubelet` bring up the Node ``bench`` and yield once it is
Ready; ``bench/node.py`` gives it pods. Afterwards their processes, pods' cgroups and the kernel
settings that upstream's kubelet changes are as they were.
"""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from harness import KYBERN, PATIENCE_SECONDS, Server, free_port, last_words, process
from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import NODES
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, write_kubeconfig
from kybern.kubelet.cgroups.kernel import CgroupFiles

NODE = "bench"
# What upstream's kubelet sets for the whole machine.
_KERNEL = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")


@contextlib.asynccontextmanager
async def kybern_kubelet(
    directory: Path, server: Server, client: Client, runtime: Path
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Kybern's."""
    with node_cgroup(f"{directory.parent.name}-{directory.name}") as cgroup:
        command = [*KYBERN, "run", "kubelet", f"--kubeconfig={_kubeconfig(directory, server)}"]
        command += [f"--hostname-override={NODE}", "--node-ip=127.0.0.1", "--address=127.0.0.1"]
        command += [f"--root-dir={directory / 'kubelet'}", f"--port={free_port()}"]
        command += [f"--container-runtime-endpoint=unix://{runtime}", f"--cgroup-root={cgroup}"]
        command += ["--max-pods=250"]
        async with _running(command, directory / "kubelet.log", client) as kubelet:
            yield kubelet


@contextlib.asynccontextmanager
async def upstream_kubelet(
    binary: str, directory: Path, server: Server, client: Client, runtime: Path
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Upstream's, with its defaults where the measurement does not need something else."""
    name = f"{directory.parent.name}-{directory.name}"
    with node_cgroup(name) as cgroup, kernel_settings_kept():
        for hierarchy in CgroupFiles().hierarchies():
            (hierarchy / cgroup).mkdir(exist_ok=True)
        config = {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "containerRuntimeEndpoint": f"unix://{runtime}",
            "address": "127.0.0.1",
            "port": free_port(),
            "healthzPort": free_port(),
            "maxPods": 250,
        }
        (directory / "config.yaml").write_text(json.dumps(config))
        command = [binary, f"--kubeconfig={_kubeconfig(directory, server)}"]
        command += [f"--config={directory / 'config.yaml'}", f"--root-dir={directory / 'kubelet'}"]
        command += [f"--hostname-override={NODE}", "--node-ip=127.0.0.1"]
        async with _running(command, directory / "kubelet.log", client) as kubelet:
            yield kubelet


@contextlib.contextmanager
def node_cgroup(name: str) -> Iterator[str]:
    """A node's tree of cgroups, removed afterwards.

    With the lab's directory in its name the lab finds the processes in it when something fails.
    """
    try:
        yield name
    finally:
        CgroupFiles().remove(name)


@contextlib.contextmanager
def kernel_settings_kept() -> Iterator[None]:
    """Put back what upstream's kubelet changes for the whole machine."""
    paths = [Path("/proc/sys") / setting for setting in _KERNEL]
    before = {path: path.read_text() for path in paths}
    try:
        yield
    finally:
        for path, value in before.items():
            path.write_text(value)


def _kubeconfig(directory: Path, server: Server) -> Path:
    """The credentials of the node, by the server's own authority."""
    authority = pki.CertificateAuthority(pki.load_pair(server.ca.parent, "ca"), Clock())
    pair = authority.issue_client(f"system:node:{NODE}", ["system:nodes"])
    access = Access(
        f"https://127.0.0.1:{server.port}",
        server.ca.read_bytes(),
        certificate=pair.certificate_pem,
        key=pair.key_pem,
    )
    write_kubeconfig(directory / "kubeconfig", access)
    return directory / "kubeconfig"


@contextlib.asynccontextmanager
async def _running(
    command: list[str], log: Path, client: Client
) -> AsyncIterator[subprocess.Popen[bytes]]:
    with process(command, log) as kubelet:

        async def ready() -> bool:
            if kubelet.poll() is not None:
                raise SystemExit(f"the kubelet ended: {last_words(log)}")
            try:
                return objects.condition_is(await client.get(NODES, NODE), "Ready")
            except StatusError:
                return False

        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await ready():
                await asyncio.sleep(0.05)
        yield kubelet
    await client.delete(NODES, NODE)
