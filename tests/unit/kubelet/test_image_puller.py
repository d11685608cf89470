"""What a puller does about a registry that refuses: how it is told, and when it is asked again."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kybern.component.clock import Clock
from kybern.kubelet.images.docker_config import NodeLogins
from kybern.kubelet.images.lookup import CredentialLookup
from kybern.kubelet.images.puller import Puller
from kybern.kubelet.images.records import PullRecords
from kybern.kubelet.images.verification import NEVER, make_policy
from kybern.kubelet.pods.failures import StartFailure
from kybern.rpc.client import RpcError

POD = {"metadata": {"namespace": "ns", "name": "web", "uid": "u1"}}
REFUSED = 'failed to resolve reference "registry.example/app:latest": not found'


class FakeClock(Clock):
    """A clock that the test moves."""

    seconds = 1_000_000.0

    def time(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


class Runtime:
    """Has no image, and refuses all pulls until told otherwise."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.images: dict[str, Any] = {}
        self.serves = False

    async def image(self, reference: str) -> Any:
        return self.images.get(reference)

    async def pull_image(self, reference: str, auth: Any, sandbox: Any) -> str:
        self.asked.append(reference)
        if not self.serves:
            raise RpcError("UNKNOWN", REFUSED)
        self.images[reference] = SimpleNamespace(id="sha256:1", size=7)
        return "sha256:1"


class Node:
    """A puller, and what it tells."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.runtime: Any = Runtime()
        records = PullRecords(directory, self.clock, make_policy(NEVER, ()))
        lookup = CredentialLookup(NodeLogins(directory, self.clock))
        self.puller = Puller(self.runtime, self.clock, 1, records, lookup)
        self.told: list[tuple[str, str, str]] = []

    async def ensure(self, image: str) -> tuple[str, str]:
        """The waiting reason and message of a container with that image; empty if it has it."""
        try:
            await self.puller.ensure(POD, {"image": image}, (), None, self._report)
        except StartFailure as failure:
            return failure.reason, failure.message
        return "", ""

    def _report(self, *told: str) -> None:
        self.told.append((told[0], told[1], told[2]))

    def heard(self) -> Sequence[tuple[str, str, str]]:
        heard, self.told = self.told, []
        return heard


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_a_refused_pull_is_told_and_then_held_back(node: Node) -> None:
    image = "registry.example/app"
    assert await node.ensure(image) == ("ErrImagePull", REFUSED)
    assert node.heard() == [
        ("Normal", "Pulling", f'Pulling image "{image}"'),
        ("Warning", "Failed", f'Failed to pull image "{image}": {REFUSED}'),
    ]
    held = f'Back-off pulling image "{image}"'
    assert await node.ensure(image) == ("ImagePullBackOff", f"{held}: ErrImagePull: {REFUSED}")
    assert node.heard() == [("Normal", "BackOff", held)]
    assert node.runtime.asked == [f"{image}:latest"]


async def test_the_registry_is_asked_at_growing_intervals(node: Node) -> None:
    for wait in (10, 20, 40, 80, 160, 300, 300):
        assert (await node.ensure("a/b:1"))[0] == "ErrImagePull"
        node.clock.seconds += wait - 0.1
        assert (await node.ensure("a/b:1"))[0] == "ImagePullBackOff"
        node.clock.seconds += 0.1
    assert len(node.runtime.asked) == 7


async def test_an_image_that_comes_at_last_is_had(node: Node) -> None:
    await node.ensure("a/b:1")
    node.clock.seconds += 10
    node.runtime.serves = True
    node.heard()
    assert await node.ensure("a/b:1") == ("", "")
    assert [reason for _, reason, _ in node.heard()] == ["Pulling", "Pulled"]


async def test_another_image_of_the_pod_is_not_held_back(node: Node) -> None:
    await node.ensure("a/b:1")
    assert (await node.ensure("a/b:2"))[0] == "ErrImagePull"
    node.puller.forget("u1")
    assert (await node.ensure("a/b:1"))[0] == "ErrImagePull"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("upper/CASE", "invalid reference format: repository name must be lowercase"),
        ("a b", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
    ],
)
async def test_what_is_no_name_is_told(node: Node, image: str, why: str) -> None:
    message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
    assert await node.ensure(image) == ("InvalidImageName", message + why)
    assert node.heard() == [("Warning", "InspectFailed", message + why)]
    assert not node.runtime.asked
