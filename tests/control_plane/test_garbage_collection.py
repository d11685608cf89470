"""Owners and dependents: background, foreground, orphan, and what never had an owner."""

import pytest
from manifests import config_map, owner, workload

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, NAMESPACES, PODS, REPLICA_SETS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


async def create(cluster: Cluster, name: str, *owners: Obj) -> Obj:
    return await cluster.client.create(CONFIG_MAPS, config_map(name, list(owners)))


async def exists(cluster: Cluster, name: str) -> bool:
    try:
        await cluster.client.get(CONFIG_MAPS, name, "default")
    except StatusError as error:
        assert error.code == 404
        return False
    return True


async def delete(cluster: Cluster, name: str, policy: str) -> None:
    await cluster.client.delete(CONFIG_MAPS, name, "default", propagation_policy=policy)


async def test_background_deletion_follows_the_owner(kybern_cluster: Cluster) -> None:
    parent = await create(kybern_cluster, "parent")
    child = await create(kybern_cluster, "child", owner(parent, "ConfigMap"))
    await create(kybern_cluster, "grandchild", owner(child, "ConfigMap"))
    await create(kybern_cluster, "stranger")
    await delete(kybern_cluster, "parent", "Background")
    assert not await exists(kybern_cluster, "parent")
    await kybern_cluster.wait_gone(CONFIG_MAPS, "grandchild")
    assert await exists(kybern_cluster, "stranger")


async def test_foreground_deletion_waits_for_blocking_dependents(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    parent = await create(kybern_cluster, "parent")
    held = config_map("child", [owner(parent, "ConfigMap", block=True)])
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(CONFIG_MAPS, held)
    await delete(kybern_cluster, "parent", "Foreground")
    await kybern_cluster.wait_for(CONFIG_MAPS, "child", objects.is_deleting)
    waiting = await client.get(CONFIG_MAPS, "parent", "default")
    assert objects.finalizers(waiting) == ["foregroundDeletion"]
    await client.patch(CONFIG_MAPS, "child", {"metadata": {"finalizers": None}}, "default")
    await kybern_cluster.wait_gone(CONFIG_MAPS, "parent")


async def test_orphans_stay_and_lose_the_reference(kybern_cluster: Cluster) -> None:
    parent = await create(kybern_cluster, "parent")
    await create(kybern_cluster, "child", owner(parent, "ConfigMap"))
    await delete(kybern_cluster, "parent", "Orphan")
    await kybern_cluster.wait_gone(CONFIG_MAPS, "parent")
    child = await kybern_cluster.client.get(CONFIG_MAPS, "child", "default")
    assert objects.owner_references(child) == []


async def test_one_living_owner_is_enough(kybern_cluster: Cluster) -> None:
    one, two = await create(kybern_cluster, "one"), await create(kybern_cluster, "two")
    await create(kybern_cluster, "child", owner(one, "ConfigMap"), owner(two, "ConfigMap"))
    await delete(kybern_cluster, "one", "Background")

    def kept(child: Obj) -> bool:
        return [o["name"] for o in objects.owner_references(child)] == ["two"]

    await kybern_cluster.wait_for(CONFIG_MAPS, "child", kept)


async def test_an_owner_that_never_was_takes_its_dependents(kybern_cluster: Cluster) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-4000-8000-000000000000"}}
    await create(kybern_cluster, "child", owner(ghost, "ConfigMap"))
    await kybern_cluster.wait_gone(CONFIG_MAPS, "child")


async def test_a_cycle_does_not_block_itself(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    a = await create(kybern_cluster, "a")
    b = await create(kybern_cluster, "b", owner(a, "ConfigMap", block=True))
    patch = {"metadata": {"ownerReferences": [owner(b, "ConfigMap", block=True)]}}
    await client.patch(CONFIG_MAPS, "a", patch, "default")
    await delete(kybern_cluster, "a", "Foreground")
    await kybern_cluster.wait_gone(CONFIG_MAPS, "a")
    await kybern_cluster.wait_gone(CONFIG_MAPS, "b")


async def test_a_deployment_goes_with_everything_below_it(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 2))
    await kybern_cluster.wait_for(
        DEPLOYMENTS, "web", lambda d: objects.status(d).get("availableReplicas") == 2
    )
    await client.delete(DEPLOYMENTS, "web", "default", propagation_policy="Foreground")
    await kybern_cluster.wait_gone(DEPLOYMENTS, "web")
    assert (await client.list(REPLICA_SETS, "default"))["items"] == []
    assert (await client.list(PODS, "default"))["items"] == []


@pytest.mark.kybern(nodes=0)
async def test_an_owner_in_another_namespace_is_none_and_is_reported(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    parent = await create(kybern_cluster, "parent")
    await client.create(NAMESPACES, {"metadata": {"name": "team"}})
    child = config_map("child", [owner(parent, "ConfigMap")], namespace="team")
    await client.create(CONFIG_MAPS, child)
    await kybern_cluster.wait_gone(CONFIG_MAPS, "child", namespace="team")

    async def told() -> bool:
        events = (await client.list(EVENTS, "team"))["items"]
        return [event["reason"] for event in events] == ["OwnerRefInvalidNamespace"]

    await kybern_cluster.wait_until(told)
    assert await exists(kybern_cluster, "parent")


async def test_deleting_a_namespace_empties_it(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(NAMESPACES, {"metadata": {"name": "team"}})
    await client.create(CONFIG_MAPS, config_map("notes", namespace="team"))
    held = config_map("held", namespace="team")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(CONFIG_MAPS, held)
    await client.delete(NAMESPACES, "team")

    def told(namespace: Obj) -> bool:
        return objects.condition_is(namespace, "NamespaceFinalizersRemaining")

    terminating = await kybern_cluster.wait_for(NAMESPACES, "team", told)
    assert objects.status(terminating)["phase"] == "Terminating"
    with pytest.raises(StatusError, match="being terminated"):
        await client.create(CONFIG_MAPS, config_map("late", namespace="team"))
    await client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "team")
    await kybern_cluster.wait_gone(NAMESPACES, "team")
