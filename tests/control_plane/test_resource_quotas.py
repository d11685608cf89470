"""A ResourceQuota's status tells what the namespace uses, and so what is still let in."""

import pytest
from manifests import config_map, pod, workload

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS, PODS, REPLICA_SETS, RESOURCE_QUOTAS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


def quota(**hard: str) -> Obj:
    return {
        "metadata": {"name": "team", "namespace": "default"},
        "spec": {"hard": {name.replace("__", "/"): value for name, value in hard.items()}},
    }


def uses(**used: str):  # type: ignore[no-untyped-def]
    wanted = {name.replace("__", "/"): value for name, value in used.items()}
    return lambda obj: (
        objects.status(obj).get("used") == wanted
        and set(objects.status(obj)["hard"]) == set(wanted)
    )


async def test_what_was_there_before_the_quota_counts(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("first"))
    await client.create(RESOURCE_QUOTAS, quota(pods="2", count__pods="5"))
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="1", count__pods="1"))
    await client.create(PODS, pod("second"))
    with pytest.raises(StatusError, match="exceeded quota: team") as refused:
        await client.create(PODS, pod("third"))
    assert refused.value.code == 403


async def test_what_is_deleted_is_given_back(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(RESOURCE_QUOTAS, quota(pods="1"))
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="0"))
    await client.create(PODS, pod("first"))
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="1"))
    await client.delete(PODS, "first", "default")
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="0"))
    await client.create(PODS, pod("second"))


@pytest.mark.kybern(nodes=0)
async def test_finished_pods_are_given_back(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(RESOURCE_QUOTAS, quota(pods="1"))
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="0"))
    once = await client.create(PODS, pod("once", restartPolicy="Never"))
    await client.update_status(PODS, {**once, "status": {"phase": "Succeeded"}})
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="0"))


@pytest.mark.kybern(nodes=0)
async def test_any_resource_can_be_counted(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(REPLICA_SETS, workload("web", 0))
    # Every namespace holds kube-root-ca.crt.
    await kybern_cluster.wait_for(CONFIG_MAPS, "kube-root-ca.crt")
    hard = {"count/replicasets.apps": "1", "configmaps": "3"}
    await client.create(RESOURCE_QUOTAS, quota(**hard))
    await kybern_cluster.wait_for(
        RESOURCE_QUOTAS, "team", uses(**{"count/replicasets.apps": "1", "configmaps": "1"})
    )
    with pytest.raises(StatusError, match="exceeded quota"):
        await client.create(REPLICA_SETS, workload("more", 0))
    await client.create(CONFIG_MAPS, config_map("mine"))
    await client.delete(REPLICA_SETS, "web", "default")
    await kybern_cluster.wait_for(
        RESOURCE_QUOTAS, "team", uses(**{"count/replicasets.apps": "0", "configmaps": "2"})
    )


@pytest.mark.kybern(nodes=0)
async def test_changed_limits_show_in_the_status(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(RESOURCE_QUOTAS, quota(pods="1"))
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(pods="0"))
    patch = {"spec": {"hard": {"pods": None, "services": "4"}}}
    await client.patch(RESOURCE_QUOTAS, "team", patch, "default")
    await kybern_cluster.wait_for(RESOURCE_QUOTAS, "team", uses(services="0"))
