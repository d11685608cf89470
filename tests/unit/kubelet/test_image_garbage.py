"""Which images a node removes, and when."""

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

from kybern.component.clock import Clock
from kybern.kubelet.eviction.thresholds import Observation
from kybern.kubelet.images.garbage import ImageCollector, Policy

KEPT = "registry.example/pause:1"


class FakeClock(Clock):
    """A clock that the test moves."""

    seconds = 1_000_000.0

    def time(self) -> float:
        return self.seconds


class Node:
    """A disk of 1,000 bytes, filled by nothing but images; it implements the runtime's calls."""

    def __init__(self, **policy: Any) -> None:
        self.there: dict[str, int] = {}
        self.used: set[str] = set()
        self.mounted: list[str] = []
        self.pinned: set[str] = set()
        self.warnings: list[tuple[str, str]] = []
        self.clock = FakeClock()
        runtime: Any = self
        self.collector = ImageCollector(
            runtime,
            self.clock,
            Policy(**policy),
            (KEPT,),
            lambda: [f"id-{name}" for name in self.mounted],
            self.disk,
            lambda *warning: self.warnings.append(warning),
            self.forget_others,
        )

    async def images(self) -> Sequence[Any]:
        return [
            SimpleNamespace(
                id=f"id-{name}",
                repo_tags=[name],
                repo_digests=[],
                size=size,
                pinned=name in self.pinned,
            )
            for name, size in self.there.items()
        ]

    async def containers(self) -> Sequence[Any]:
        return [
            SimpleNamespace(image_ref=f"id-{name}", image=SimpleNamespace(image=name))
            for name in sorted(self.used)
        ]

    async def remove_image(self, identity: str) -> None:
        del self.there[identity.removeprefix("id-")]

    async def disk(self) -> Observation:
        return Observation(1000 - sum(self.there.values()), 1000)

    async def forget_others(self, known: Collection[str], began: float) -> None:
        """Nobody remembers pulls here."""

    async def after(self, seconds: float) -> list[str]:
        """The images that are left when the node has looked, waited and collected."""
        await self.collector.look()
        self.clock.seconds += seconds
        await self.collector.collect()
        return list(self.there)


async def test_below_the_high_threshold_all_stay() -> None:
    node = Node()
    node.there = {"a": 400, "b": 440}
    assert await node.after(3600) == ["a", "b"]


async def test_above_it_images_go_until_the_low_threshold_is_reached() -> None:
    node = Node()
    node.there = {"a": 50, "b": 50, "c": 50, "d": 700}
    assert await node.after(3600) == ["b", "c", "d"]
    assert not node.warnings


async def test_what_was_used_last_goes_last() -> None:
    node = Node()
    node.there = {"a": 50, "b": 50, "c": 50, "d": 50, "pinned": 700}
    node.pinned = {"pinned"}
    for name in ("d", "b", "a", "c"):
        node.used = {name}
        await node.collector.look()
        node.clock.seconds += 60
    node.used = set()
    node.there["never"] = 10
    assert await node.after(3600) == ["a", "c", "pinned"]


async def test_what_is_used_pinned_or_the_sandboxes_stays() -> None:
    node = Node()
    node.there = {"used": 300, "pinned": 300, KEPT: 100, "volume": 200, "free": 50}
    node.used, node.pinned, node.mounted = {"used"}, {"pinned"}, ["volume"]
    assert await node.after(3600) == ["used", "pinned", KEPT, "volume"]
    ((reason, message),) = node.warnings
    assert reason == "FreeDiskSpaceFailed"
    assert "(95% of 1000 B used)" in message
    assert "(freed 50 bytes)" in message


async def test_what_came_a_moment_ago_stays() -> None:
    node = Node(shortest_age=120.0)
    node.there = {"a": 900}
    assert await node.after(119) == ["a"]
    assert await node.after(1) == []


async def test_what_nobody_used_for_too_long_goes_from_an_empty_disk_too() -> None:
    node = Node(longest_age=3600.0)
    node.there = {"old": 1, "used": 1, "pinned": 1}
    node.used, node.pinned = {"used"}, {"pinned"}
    assert await node.after(3600) == ["old", "used", "pinned"]
    node.there["new"] = 1
    assert await node.after(1) == ["used", "pinned", "new"]
    node.used = set()
    assert await node.after(3599) == ["used", "pinned", "new"]
    assert await node.after(2) == ["pinned"]
