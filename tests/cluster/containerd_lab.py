"""A private containerd for tests with real containers.

The test's own thread gets a network namespace, and containerd is started in it, with its own root,
state, socket, CNI configuration and cgroups; the host's namespaces stay untouched. Leaving the lab
proves that nothing is left behind (``leftovers.py``), no address of a pod either.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from pathlib import Path
from typing import Any

import pytest
from leftovers import assert_nothing_left, end_processes

from kybern.kubelet.images.archive import Image, build, busybox_entries, import_archive
from kybern.kubelet.images.pause import REFERENCE as PAUSE
from kybern.kubelet.images.pause import pause_image
from kybern.testing.patience import PATIENCE

Obj = dict[str, Any]
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
SECONDS = 30.0 * PATIENCE
BRIDGE = "kybern0"
BUSYBOX = "kybern.test/busybox:1"
_NEEDED = ("/usr/bin/containerd", "/usr/bin/crun", "/usr/bin/busybox", "/usr/lib/cni/bridge")

needs_containerd = pytest.mark.skipif(
    os.geteuid() != 0 or not all(os.path.exists(path) for path in _NEEDED),
    reason="real containers need root, containerd, crun, CNI plugins and a static busybox",
)

_CONTAINERD = """
version = 2
root = "{root}/root"
state = "{root}/state"
[grpc]
address = "{root}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
enable_unprivileged_ports = true
disable_hugetlb_controller = false
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{root}/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "{runtime}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{runtime}]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{runtime}.options]
BinaryName = "{runtime}"
SystemdCgroup = {systemd}
"""


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Containerd:
    """One private containerd under ``root``, in the network namespace of the thread.

    Its runtime is crun; runc, as most machines have it, where ``systemd`` makes the cgroups.
    """

    def __init__(self, root: Path, systemd: bool = False) -> None:
        self.root = root
        self._systemd = systemd
        self.socket = root / "containerd.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        (self.root / "net.d").mkdir(parents=True)
        (self.root / "config.toml").write_text(
            _CONTAINERD.format(
                root=self.root,
                pause=PAUSE,
                runtime="runc" if self._systemd else "crun",
                systemd="true" if self._systemd else "false",
            )
        )
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": "10.77.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self.root / "ipam"),
        }
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True}
        conf = {"cniVersion": "0.4.0", "name": "lab", "plugins": [{**bridge, "ipam": ipam}]}
        (self.root / "net.d" / "10-lab.conflist").write_text(json.dumps(conf))

    def start(self) -> None:
        """Start, in a mount namespace without the hybrid cgroup mount that crun refuses."""
        script = (
            "umount /sys/fs/cgroup/unified 2>/dev/null; "
            "exec containerd --config $0 --log-level warn"
        )
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--propagation", "slave"),
                    *("sh", "-c", script, str(self.root / "config.toml")),
                ],
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        async def answers() -> bool:
            probe = await asyncio.create_subprocess_exec(
                *("ctr", "--address", str(self.socket), "version"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            return await probe.wait() == 0

        await until(answers, "containerd answers")

    @property
    def process(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9; containers live on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    def addresses(self) -> list[str]:
        """The addresses that pods hold."""
        return [path.name for path in (self.root / "ipam").glob("*/10.*")]


@contextlib.contextmanager
def private_namespace() -> Iterator[None]:
    """A fresh network namespace for this thread and what it starts."""
    with open(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net") as own:
        if _LIBC.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _enter(own.fileno())


@contextlib.contextmanager
def shared_directory() -> Iterator[Path]:
    """A short directory whose mounts containerd's mount namespace sees."""
    path = Path(tempfile.mkdtemp(prefix="kybern-lab-", dir="/tmp"))
    subprocess.run(["mount", "--bind", path, path], check=True)
    # Private first: where the machine's own mounts are shared, what is mounted below would else be
    # mounted there too, hidden and counted twice.
    subprocess.run(["mount", "--make-private", "--make-shared", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--recursive", path], check=False)
        shutil.rmtree(path, ignore_errors=True)


async def until(
    condition: Callable[[], Any] | Callable[[], Awaitable[Any]], what: str, seconds: float = SECONDS
) -> Any:
    """Wait until the condition holds, and return what it returned."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s: {what}")


def busybox_image() -> Image:
    binary = Path("/usr/bin/busybox")
    listed = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True)
    entries = busybox_entries(binary, listed.stdout.split())
    return Image(BUSYBOX, entries, command=["sh"])


def shell(script: str, name: str = "main", **fields: Any) -> Obj:
    """A container that runs a shell script; ``sh`` is not process 1's last word on signals."""
    return {
        "name": name,
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        **fields,
    }


STAY = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@contextlib.asynccontextmanager
async def open_runtime(systemd: bool = False) -> AsyncIterator[tuple[Containerd, Path]]:
    """A containerd with the pause and busybox images, and the lab's directory."""
    with private_namespace(), shared_directory() as directory:
        containerd = Containerd(directory / "c", systemd)
        containerd.prepare()
        containerd.start()
        try:
            await containerd.ready()
            for image in (pause_image(), busybox_image()):
                await import_archive(str(containerd.socket), build(image))
            yield containerd, directory
            assert not containerd.addresses()
        except BaseException:
            containerd.stop()
            end_processes(directory.name)
            raise
        finally:
            containerd.stop()
        # The bridge stays where its pods were, and goes with the namespace.
        assert_nothing_left(directory.name, besides=("lo", BRIDGE, str(directory)))
