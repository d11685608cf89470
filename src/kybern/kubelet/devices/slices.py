"""Takes back the ResourceSlices of drivers that are not there, as upstream's kubelet does.

Devices that nobody can prepare must not be given to pods. A kubelet that starts knows of no driver
yet, so it deletes all of its node's slices, and drivers publish theirs again as they register. A
driver that goes has half a minute to come back, for an update of its own.
"""

import asyncio
import logging

from kybern.api.errors import StatusError
from kybern.api.resources import RESOURCE_SLICES
from kybern.client.client import Client
from kybern.client.transport import ApiUnreachable

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0


class Slices:
    """One node's published devices."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._leaving: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        """Delete what earlier drivers have published; call it once, before any registers."""
        await self._delete(f"spec.nodeName={self._node}")

    def told(self, driver: str, is_there: bool) -> None:
        """Whether a driver can be reached; if not, its slices go unless it comes back in time."""
        if is_there:
            if task := self._leaving.pop(driver, None):
                task.cancel()
        elif driver not in self._leaving:
            task = asyncio.create_task(self._take_back(driver), name=f"slices of {driver}")
            self._leaving[driver] = task

    async def close(self) -> None:
        tasks = list(self._leaving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_back(self, driver: str) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        await self._delete(f"spec.nodeName={self._node},spec.driver={driver}")

    async def _delete(self, selector: str) -> None:
        pause = RETRY_SECONDS
        while True:
            try:
                await self._client.delete_collection(RESOURCE_SLICES, field_selector=selector)
                return
            except (StatusError, ApiUnreachable) as error:
                if isinstance(error, StatusError) and error.code == 404:
                    return
                logger.info("ResourceSlices (%s) not deleted yet: %s", selector, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)
