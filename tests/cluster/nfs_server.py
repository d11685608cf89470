"""The kernel's own NFS server, version 4 alone, with one export, in this network namespace.

Its files lie in the test's directory: the daemon that answers who may mount what runs in a mount
namespace of its own, which hides the machine's. It ends with that daemon.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from containerd_lab import until

ADDRESS = "127.0.0.1"
_PROGRAMS = ("/sbin/mount.nfs", "/usr/sbin/rpc.nfsd", "/usr/sbin/rpc.mountd")
_NFSD = "/proc/fs/nfsd"
_EXPORT = "{path}\t{client}(rw,sync,fsid=0,no_root_squash,no_subtree_check,insecure,sec=sys)\n"
_SERVE = f"""
set -e
mount -t nfsd nfsd {_NFSD}
mount --bind $0/state /var/lib/nfs
rpc.nfsd --no-nfs-version 3 --no-udp --lease-time 10 --grace-time 10 4
exec rpc.mountd --foreground --no-nfs-version 3 --no-udp
"""
_SILENCE = """
table ip silence {
  chain input {
    type filter hook input priority filter
    tcp dport 2049 drop
  }
}
"""


def _missing() -> str:
    kernel = Path("/proc/filesystems").read_text().split()
    lacks = [kind for kind in ("nfs4", "nfsd") if kind not in kernel]
    lacks += [program for program in _PROGRAMS if not Path(program).exists()]
    return ", ".join(lacks)


needs_nfs = pytest.mark.skipif(
    bool(_missing()),
    reason=f"NFS needs the kernel's client and server, and nfs-kernel-server (bin/guest has them);"
    f" not here: {_missing()}",
)


class NfsServer:
    """A server at :data:`ADDRESS`, whose ``/`` is the directory ``exported``."""

    def __init__(self, directory: Path) -> None:
        self.exported = directory / "export"
        self.exported.mkdir(parents=True)
        (directory / "state" / "v4recovery").mkdir(parents=True)
        exports = _EXPORT.format(path=self.exported, client=ADDRESS)
        (directory / "state" / "etab").write_text(exports)
        with (directory / "log").open("wb") as log:
            self._daemon = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _SERVE, directory], stdout=log, stderr=log
            )
        self._log = directory / "log"

    def answers(self) -> bool:
        assert self._daemon.poll() is None, self._log.read_text()
        inside = Path(f"/proc/{self._daemon.pid}")
        if (inside / "comm").read_text() != "rpc.mountd\n":
            return False
        # Until then files open for those only who had them open before.
        return (inside / f"root{_NFSD}/v4_end_grace").read_text().startswith("Y")

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """A server that takes no packet and says nothing."""
        subprocess.run(["nft", "--file", "-"], input=_SILENCE, text=True, check=True)
        try:
            yield
        finally:
            subprocess.run(["nft", "delete", "table", "ip", "silence"], check=True)

    def stop(self) -> None:
        if self._daemon.poll() is not None:
            return
        inside = ["nsenter", f"--mount=/proc/{self._daemon.pid}/ns/mnt"]
        subprocess.run([*inside, "rpc.nfsd", "0"], check=True)
        self._daemon.terminate()
        self._daemon.wait()


@contextlib.asynccontextmanager
async def nfs_server(directory: Path) -> AsyncIterator[NfsServer]:
    server = NfsServer(directory)
    try:
        await until(server.answers, "the NFS server answers")
        yield server
    finally:
        await asyncio.to_thread(server.stop)
