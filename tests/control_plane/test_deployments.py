"""Deployments and ReplicaSets bring the world to what their specs say."""

import pytest
from manifests import pod, workload

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


def is_complete(deployment: Obj) -> bool:
    status, wanted = objects.status(deployment), deployment["spec"]["replicas"]
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("replicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


async def rolled_out(cluster: Cluster, name: str = "web") -> Obj:
    return await cluster.wait_for(DEPLOYMENTS, name, is_complete)


async def set_image(cluster: Cluster, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    await cluster.client.patch(DEPLOYMENTS, "web", patch, "default", kind="strategic")


async def images(cluster: Cluster) -> list[str]:
    pods, _ = await cluster.client.list_all(PODS, "default")
    return [p["spec"]["containers"][0]["image"] for p in pods if not objects.is_deleting(p)]


@pytest.mark.kybern(nodes=2)
async def test_a_deployment_becomes_ready_pods(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(DEPLOYMENTS, workload("web"))
    deployment = await rolled_out(kybern_cluster)
    assert objects.condition_is(deployment, "Available")
    progressing = objects.condition(deployment, "Progressing")
    assert progressing is not None and progressing["reason"] == "NewReplicaSetAvailable"
    assert await images(kybern_cluster) == ["app:1"] * 3


async def test_a_rolling_update_stays_within_its_bounds(kybern_cluster: Cluster) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 6, strategy=rolling))
    await rolled_out(kybern_cluster)
    most, least = 0, 6
    pods, revision = await client.list_all(PODS, "default")
    ready = {objects.name(p): objects.is_pod_ready(p) for p in pods}
    await set_image(kybern_cluster, "app:2")
    async for event in client.watch(PODS, "default", resource_version=revision):
        name = event["object"]["metadata"].get("name", "")
        if event["type"] == "BOOKMARK":
            continue
        gone = event["type"] == "DELETED" or objects.is_deleting(event["object"])
        ready.pop(name, None) if gone else ready.update(
            {name: objects.is_pod_ready(event["object"])}
        )
        most, least = max(most, len(ready)), min(least, sum(ready.values()))
        if await images(kybern_cluster) == ["app:2"] * 6 and all(ready.values()):
            break
    assert most <= 7
    assert least >= 5
    await rolled_out(kybern_cluster)


async def test_undo_brings_the_old_replica_set_back(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 2))
    first = await rolled_out(kybern_cluster)
    assert objects.annotations(first)["deployment.kubernetes.io/revision"] == "1"
    await set_image(kybern_cluster, "app:2")
    await rolled_out(kybern_cluster)
    await set_image(kybern_cluster, "app:1")
    last = await rolled_out(kybern_cluster)
    assert objects.annotations(last)["deployment.kubernetes.io/revision"] == "3"
    sets, _ = await client.list_all(REPLICA_SETS, "default")
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 2]
    assert len(sets) == 2


async def test_recreate_never_mixes_versions(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 3, strategy={"type": "Recreate"}))
    await rolled_out(kybern_cluster)
    pods, revision = await client.list_all(PODS, "default")
    alive = {objects.name(p): "app:1" for p in pods}
    await set_image(kybern_cluster, "app:2")
    async for event in client.watch(PODS, "default", resource_version=revision):
        if event["type"] == "BOOKMARK":
            continue
        obj = event["object"]
        if event["type"] == "DELETED":
            alive.pop(objects.name(obj))
        else:
            alive[objects.name(obj)] = obj["spec"]["containers"][0]["image"]
        assert len(set(alive.values())) <= 1
        if list(alive.values()) == ["app:2"] * 3:
            break


async def test_history_is_trimmed(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 1, revisionHistoryLimit=1))
    for version in range(2, 6):
        await rolled_out(kybern_cluster)
        await set_image(kybern_cluster, f"app:{version}")
    await rolled_out(kybern_cluster)

    async def trimmed() -> bool:
        return len((await client.list(REPLICA_SETS, "default"))["items"]) == 2

    await kybern_cluster.wait_until(trimmed)


@pytest.mark.kybern(nodes=0)
async def test_a_stuck_rollout_exceeds_its_deadline(kybern_cluster: Cluster) -> None:
    """Without nodes no pod gets ready; the deadline passes on virtual time."""
    web = workload("web", 1, progressDeadlineSeconds=600)
    await kybern_cluster.client.create(DEPLOYMENTS, web)

    def timed_out(deployment: Obj) -> bool:
        found = objects.condition(deployment, "Progressing") or {}
        return found.get("reason") == "ProgressDeadlineExceeded"

    await kybern_cluster.wait_for(DEPLOYMENTS, "web", timed_out, patience=900)


async def test_scaling_in_the_middle_of_a_rollout_keeps_the_mix(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 4))
    await rolled_out(kybern_cluster)
    await set_image(kybern_cluster, "app:2")
    await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 10}}, "default")
    await rolled_out(kybern_cluster)
    assert await images(kybern_cluster) == ["app:2"] * 10


async def test_a_replica_set_replaces_what_goes_and_drops_what_is_too_much(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await client.create(REPLICA_SETS, workload("web", 3))

    def ready(count: int):  # type: ignore[no-untyped-def]
        return lambda one: (
            objects.status(one).get("readyReplicas", 0)
            == count
            == (objects.status(one).get("replicas", 0))
        )

    await kybern_cluster.wait_for(REPLICA_SETS, "web", ready(3))
    victim = (await client.list(PODS, "default"))["items"][0]
    await client.delete(PODS, objects.name(victim), "default")
    await kybern_cluster.wait_gone(PODS, objects.name(victim))
    await kybern_cluster.wait_for(REPLICA_SETS, "web", ready(3))
    await client.patch(REPLICA_SETS, "web", {"spec": {"replicas": 1}}, "default")
    await kybern_cluster.wait_for(REPLICA_SETS, "web", ready(1))
    events = (await client.list(EVENTS, "default"))["items"]
    assert {"SuccessfulCreate", "SuccessfulDelete"} <= {event["reason"] for event in events}


async def test_a_replica_set_adopts_and_releases_by_label(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("orphan", labels={"app": "web"}))
    await client.create(REPLICA_SETS, workload("web", 2))

    def adopted(one: Obj) -> bool:
        return (objects.controller_of(one) or {}).get("name") == "web"

    await kybern_cluster.wait_for(PODS, "orphan", adopted)
    assert len((await client.list(PODS, "default", label_selector="app=web"))["items"]) <= 2
    await client.patch(PODS, "orphan", {"metadata": {"labels": {"app": "other"}}}, "default")
    await kybern_cluster.wait_for(PODS, "orphan", lambda one: not adopted(one))
