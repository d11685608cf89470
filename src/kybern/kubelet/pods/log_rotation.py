"""Keeps container logs small: a file that has grown too large is set aside, the oldest removed.

Upstream's defaults: 10 MiB a file, five files a container. The runtime writes the log, so it is
told to open its file anew after the rename; a reader that follows notices the change of files.
"""

import asyncio
import logging
from pathlib import Path

from kybern.component.clock import Clock
from kybern.kubelet.cri.client import Runtime, cri, is_gone
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

CHECK_SECONDS = 10.0


class LogRotation:
    """Rotates the logs of running containers until cancelled."""

    def __init__(self, runtime: Runtime, clock: Clock, max_bytes: int, max_files: int) -> None:
        self._runtime = runtime
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_files = max_files

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.rotate_all()
            except (RpcError, OSError) as error:
                logger.warning("logs not rotated: %s", error)

    async def rotate_all(self) -> None:
        """Look at every running container's log once."""
        for item in await self._runtime.containers():
            if item.state != cri.CONTAINER_RUNNING:
                continue
            try:
                path = Path((await self._runtime.container_status(item.id)).status.log_path)
                if await asyncio.to_thread(self._is_large, path):
                    await asyncio.to_thread(self._set_aside, path)
                    await self._runtime.reopen_log(item.id)
            except RpcError as error:
                if not is_gone(error):
                    raise

    def _is_large(self, path: Path) -> bool:
        try:
            return path.stat().st_size > self._max_bytes
        except OSError:
            return False

    def _set_aside(self, path: Path) -> None:
        """Rename the file after the present time, and remove the oldest beyond the limit."""
        stamp = self._clock.now().strftime("%Y%m%d-%H%M%S.%f")
        path.rename(path.with_name(f"{path.name}.{stamp}"))
        older = sorted(path.parent.glob(f"{path.name}.*"), reverse=True)
        for superfluous in older[self._max_files - 1 :]:
            superfluous.unlink(missing_ok=True)
