"""Asking a server whether it has a resource."""

import pytest

from kybern.api.resources import POD_EXPLANATIONS, PODS, Resource
from kybern.client import ApiUnreachable
from kybern.client.transport import Reply
from kybern.testing import Cluster

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False),
]

UNKNOWN = Resource("example.com", "v1", "things", "Thing")


async def test_a_server_says_what_it_serves(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    assert await client.serves(PODS)
    assert await client.serves(POD_EXPLANATIONS)
    assert not await client.serves(UNKNOWN)
    assert not await client.serves(PODS._replace(plural="things"))


async def test_a_server_that_is_away_is_asked_until_it_answers(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    send = client.transport.send
    asked: list[str] = []

    async def flaky(method: str, path: str, *rest: object) -> Reply:
        asked.append(path)
        if len(asked) < 3:
            raise ApiUnreachable("not yet")
        return await send(method, path, *rest)  # type: ignore[arg-type]

    client.transport.send = flaky  # type: ignore[method-assign]
    started = kybern_cluster.clock.monotonic()
    assert await client.serves(PODS)
    assert asked == ["/api/v1"] * 3
    assert kybern_cluster.clock.monotonic() - started >= 2
