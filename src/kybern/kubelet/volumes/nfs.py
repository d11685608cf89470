"""NFS volumes, mounted by the node's own ``mount``, for each pod anew.

``mount`` tries for minutes where a server does not answer, and ends early when nobody needs the
volume any more. What is mounted is taken away without asking the server.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from pathlib import Path

from kybern.kubelet.volumes import filesystem, mounting
from kybern.kubelet.volumes.apart import apart
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import Plugin, Use

LOOK_SECONDS = 0.05


class NfsVolumes(Plugin):
    """The plugin ``kubernetes.io/nfs``."""

    directory = "nfs"
    is_shared = False

    def __init__(self) -> None:
        self._mounting: dict[Path, Process] = {}

    async def mount(self, use: Use, target: Path) -> None:
        server = use.source["server"]
        shown = f"[{server}]" if ":" in server else server
        options = {*use.mount_options, *(("ro",) if use.read_only else ())}
        source = f"{shown}:{use.source['path']}"
        arguments = filesystem.mount_arguments(source, target, "nfs", sorted(options))
        process = await asyncio.create_subprocess_exec(
            *("mount", *arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        self._mounting[target] = process
        try:
            said, _ = await process.communicate()
        finally:
            del self._mounting[target]
            _end(process)
        if process.returncode:
            raise filesystem.mount_failed(arguments, process.returncode, said.decode())

    def hurry(self, target: Path) -> None:
        if (process := self._mounting.get(target)) is not None:
            _end(process)

    async def unmount(self, uid: str, name: str, target: Path) -> None:
        # The kernel takes its leave of a server that may not answer, and holds the caller
        # meanwhile; the mount point is gone at once.
        leaving = asyncio.create_task(apart(mounting.unmount, target))
        while await asyncio.to_thread(mounting.is_mount_point, target):
            done, _ = await asyncio.wait({leaving}, timeout=LOOK_SECONDS)
            if done:
                leaving.result()
                leaving = asyncio.create_task(apart(mounting.unmount, target))
        await asyncio.to_thread(mounting.take_away, target)

    async def map(self, use: Use, mark: Path) -> Path:
        raise VolumeError("an NFS volume is not a block device")

    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        await asyncio.to_thread(mark.unlink, missing_ok=True)

    async def grow(self, use: Use, target: Path, size: int, *, is_device: bool) -> bool:
        return False


def _end(process: Process) -> None:
    """End ``mount`` with its helper; nothing is done to one that has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
