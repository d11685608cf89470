"""Removes images that no container uses: when their disk fills up, or when they grow too old.

An image counts as used while any container, ended ones too, was made from it, and while a pod has
it as a volume. The ones that were not used for the longest time go first, and none that was pulled
a moment ago: its container may be on its way. What the runtime has pinned stays, and so does the
sandbox's image.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from kybern.component.clock import Clock
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.eviction.thresholds import Observation
from kybern.rpc.client import RpcError

logger = logging.getLogger(__name__)

COLLECT_SECONDS = 300.0
# Images are looked at more often than they are collected, to know when each was last used.
LOOK_SECONDS = 30.0
_EVERYTHING = 2**63

# A warning about the node: reason, message.
Warn = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Policy:
    """Shares of the disk in percent, ages in seconds; a ``longest_age`` of 0 is none."""

    high: int = 85
    low: int = 80
    shortest_age: float = 120.0
    longest_age: float = 0.0


@dataclass(slots=True)
class _Record:
    first_seen: float
    last_used: float
    size: int
    pinned: bool
    in_use: bool


class ImageCollector:
    """One node's images; ``disk`` says how full theirs is.

    ``mounted`` tells the IDs of those that are volumes. ``forget_others`` is told which images
    there are, and when they were about to be listed.
    """

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        policy: Policy,
        kept: Collection[str],
        mounted: Callable[[], Collection[str]],
        disk: Callable[[], Awaitable[Observation]],
        warn: Warn,
        forget_others: Callable[[Collection[str], float], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._policy = policy
        self._kept = kept
        self._mounted = mounted
        self._disk = disk
        self._warn = warn
        self._forget_others = forget_others
        self._records: dict[str, _Record] = {}
        self._began = clock.time()

    async def run(self) -> None:
        """Look and collect until cancelled."""
        due = self._clock.monotonic() + COLLECT_SECONDS
        while True:
            try:
                await self.look()
                if self._clock.monotonic() >= due:
                    due += COLLECT_SECONDS
                    await self.collect()
            except (RpcError, OSError) as error:
                logger.warning("images not collected: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Note which images there are and which are in use."""
        images = await self._runtime.images()
        used = set(self._mounted())
        for container in await self._runtime.containers():
            used.update((container.image_ref, container.image.image))
        now = self._clock.time()
        known, self._records = self._records, {}
        for image in images:
            old = known.get(image.id)
            names = {image.id, *image.repo_tags, *image.repo_digests}
            in_use = bool(names & used)
            self._records[image.id] = _Record(
                first_seen=old.first_seen if old else now,
                last_used=now if in_use else old.last_used if old else 0.0,
                size=image.size,
                pinned=bool(image.pinned or names & set(self._kept)),
                in_use=in_use,
            )

    async def collect(self) -> None:
        """Remove what is too old, and what has to go for the disk to be less full."""
        began = self._clock.time()
        await self.look()
        await self._forget_others(self._records.keys(), began)
        now = self._clock.time()
        if self._policy.longest_age and now - self._began > self._policy.longest_age:
            for identity, record in self._candidates():
                if now - max(record.last_used, record.first_seen) > self._policy.longest_age:
                    await self._remove(identity)
        disk = await self._disk()
        if not disk.capacity:
            self._warn("InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
            return
        used = 100 - min(disk.available, disk.capacity) * 100 // disk.capacity
        if used < self._policy.high:
            return
        wanted = disk.capacity * (100 - self._policy.low) // 100 - disk.available
        freed = await self._free(wanted)
        if freed < wanted:
            self._warn(
                "FreeDiskSpaceFailed",
                f"Insufficient free disk space on the node's image filesystem ({used}% of "
                f"{_shown(disk.capacity)} used). Failed to free sufficient space by deleting "
                f"unused images (freed {freed} bytes). Investigate disk usage, as it could be "
                "used by active images, logs, volumes, or other data.",
            )

    async def remove_unused(self) -> None:
        """Remove every image that nobody uses and that is not quite new."""
        await self.look()
        await self._free(_EVERYTHING)

    def _candidates(self) -> list[tuple[str, _Record]]:
        """What may go, in the order in which it goes."""
        unused = [
            (identity, record)
            for identity, record in self._records.items()
            if not (record.in_use or record.pinned)
        ]
        return sorted(unused, key=lambda each: (each[1].last_used, each[1].first_seen))

    async def _free(self, wanted: int) -> int:
        freed, now = 0, self._clock.time()
        for identity, record in self._candidates():
            if freed >= wanted:
                break
            if now - record.first_seen >= self._policy.shortest_age:
                freed += record.size if await self._remove(identity) else 0
        return freed

    async def _remove(self, identity: str) -> bool:
        try:
            await self._runtime.remove_image(identity)
        except RpcError as error:
            logger.warning("image %s not removed: %s", identity, error)
            return False
        self._records.pop(identity, None)
        return True


def _shown(size: int) -> str:
    amount: Any = size
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.1f} {unit}" if unit != "B" else f"{amount} B"
        amount /= 1024
    return f"{amount:.1f} TiB"
