"""One leader at a time, by a Lease; another when it goes silent."""

import asyncio

import pytest

from kybern.api.resources import LEASES
from kybern.client import Client, LeaderElector
from kybern.client.leader_election import LeadershipLost
from kybern.testing import Cluster

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False),
]


def elector(cluster: Cluster, identity: str, client: Client | None = None) -> LeaderElector:
    return LeaderElector(client or cluster.client, cluster.clock, "boss", identity)


async def lead_for_ever() -> None:
    await asyncio.Event().wait()


async def holder(cluster: Cluster) -> str:
    lease = await cluster.client.get(LEASES, "boss", "kube-system")
    return lease["spec"].get("holderIdentity", "")


async def test_the_second_waits_until_the_first_gives_up(kybern_cluster: Cluster) -> None:
    one, two = elector(kybern_cluster, "one"), elector(kybern_cluster, "two")
    first = asyncio.create_task(one.run(lead_for_ever))
    await asyncio.sleep(1)
    second = asyncio.create_task(two.run(lead_for_ever))
    await asyncio.sleep(60)
    assert (one.leading, two.leading) == (True, False)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await holder(kybern_cluster) == ""
    await asyncio.sleep(10)
    assert two.leading and await holder(kybern_cluster) == "two"
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_silent_leader_is_replaced_after_its_lease(kybern_cluster: Cluster) -> None:
    stale = {
        "metadata": {"name": "boss", "namespace": "kube-system"},
        "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 15},
    }
    await kybern_cluster.client.create(LEASES, stale)
    heir = elector(kybern_cluster, "heir")
    task = asyncio.create_task(heir.run(lead_for_ever))
    await asyncio.sleep(10)
    assert not heir.leading
    await asyncio.sleep(15)
    assert heir.leading
    lease = await kybern_cluster.client.get(LEASES, "boss", "kube-system")
    assert lease["spec"]["leaseTransitions"] == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_usurped_leader_stops(kybern_cluster: Cluster) -> None:
    ended: list[str] = []

    async def lead() -> None:
        try:
            await lead_for_ever()
        finally:
            ended.append("stopped")

    one = elector(kybern_cluster, "one")
    task = asyncio.create_task(one.run(lead))
    await asyncio.sleep(1)
    lease = await kybern_cluster.client.get(LEASES, "boss", "kube-system")

    async def usurp() -> None:
        for _ in range(10):
            current = await kybern_cluster.client.get(LEASES, "boss", "kube-system")
            spec = {**lease["spec"], "holderIdentity": "usurper"}
            spec["renewTime"] = kybern_cluster.clock.micro_timestamp()
            await kybern_cluster.client.update(LEASES, {**current, "spec": spec})
            await asyncio.sleep(2)

    await usurp()
    with pytest.raises(LeadershipLost):
        await task
    assert ended == ["stopped"]
    assert not one.leading
