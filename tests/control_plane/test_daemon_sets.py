"""DaemonSets run one pod on every node that fits, and replace them node by node."""

import pytest
from manifests import daemon_set

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, EVENTS, NODES, PODS
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=3)]


def is_rolled_out(obj: Obj) -> bool:
    status = objects.status(obj)
    desired = status.get("desiredNumberScheduled", 0)
    return (
        status.get("observedGeneration") == objects.generation(obj)
        and status.get("updatedNumberScheduled", 0) == desired
        and status.get("numberAvailable", 0) == desired
        and status.get("currentNumberScheduled", 0) == desired
    )


async def rolled_out(cluster: Cluster) -> Obj:
    return await cluster.wait_for(DAEMON_SETS, "agent", is_rolled_out, patience=300)


async def living(cluster: Cluster) -> list[Obj]:
    pods, _ = await cluster.client.list_all(PODS, "default")
    return [pod for pod in pods if objects.is_pod_active(pod)]


async def node_names(cluster: Cluster) -> list[str]:
    nodes, _ = await cluster.client.list_all(NODES)
    return sorted(map(objects.name, nodes))


async def set_image(cluster: Cluster, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    await cluster.client.patch(DAEMON_SETS, "agent", patch, "default", kind="strategic")


async def test_every_node_gets_one_pod(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(DAEMON_SETS, daemon_set("agent"))
    done = await rolled_out(kybern_cluster)
    assert objects.status(done)["desiredNumberScheduled"] == 3
    pods = await living(kybern_cluster)
    placed = sorted(pod["spec"]["nodeName"] for pod in pods)
    assert placed == await node_names(kybern_cluster)
    tolerated = {one["key"] for one in pods[0]["spec"]["tolerations"]}
    assert "node.kubernetes.io/unschedulable" in tolerated
    victim = objects.name(pods[0])
    await kybern_cluster.client.delete(PODS, victim, "default")
    await kybern_cluster.wait_gone(PODS, victim)
    await rolled_out(kybern_cluster)
    assert len(await living(kybern_cluster)) == 3


async def test_labels_and_taints_decide_about_nodes(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    first, second, _ = await node_names(kybern_cluster)
    made = daemon_set("agent")
    made["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    await client.create(DAEMON_SETS, made)
    await kybern_cluster.wait_for(
        DAEMON_SETS, "agent", lambda one: objects.status(one).get("observedGeneration") == 1
    )
    assert await living(kybern_cluster) == []
    for name in (first, second):
        await client.patch(NODES, name, {"metadata": {"labels": {"disk": "fast"}}})

    def counts(desired: int):  # type: ignore[no-untyped-def]
        return lambda one: (
            objects.status(one)["desiredNumberScheduled"] == desired
            and objects.status(one).get("numberAvailable", 0) == desired
            and objects.status(one)["numberMisscheduled"] == 0
        )

    await kybern_cluster.wait_for(DAEMON_SETS, "agent", counts(2))
    await client.patch(NODES, first, {"metadata": {"labels": {"disk": None}}})
    await kybern_cluster.wait_for(DAEMON_SETS, "agent", counts(1))
    assert [pod["spec"]["nodeName"] for pod in await living(kybern_cluster)] == [second]
    taint = {"key": "keep", "value": "off", "effect": "NoSchedule"}
    await client.patch(NODES, second, {"spec": {"taints": [taint]}})
    # What runs already may stay; it only does not belong there any more.
    await kybern_cluster.wait_for(
        DAEMON_SETS, "agent", lambda one: objects.status(one)["numberMisscheduled"] == 1
    )
    assert len(await living(kybern_cluster)) == 1


@pytest.mark.parametrize(
    ("rolling", "least", "most"),
    [({"maxUnavailable": 1}, 2, 3), ({"maxUnavailable": 0, "maxSurge": 1}, 3, 4)],
)
async def test_a_rolling_update_stays_within_its_bounds(
    kybern_cluster: Cluster, rolling: Obj, least: int, most: int
) -> None:
    client = kybern_cluster.client
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    await client.create(DAEMON_SETS, daemon_set("agent", updateStrategy=strategy))
    await rolled_out(kybern_cluster)
    pods, revision = await client.list_all(PODS, "default")
    ready = {objects.name(pod): True for pod in pods}
    await set_image(kybern_cluster, "app:2")
    updated: set[str] = set()
    async for event in client.watch(PODS, "default", resource_version=revision):
        if event["type"] == "BOOKMARK":
            continue
        obj = event["object"]
        name = objects.name(obj)
        if event["type"] == "DELETED" or objects.is_deleting(obj):
            ready.pop(name, None)
        else:
            ready[name] = objects.is_pod_ready(obj)
        assert least <= sum(ready.values())
        assert len(ready) <= most
        if ready.get(name) and obj["spec"]["containers"][0]["image"] == "app:2":
            updated.add(name)
        if len(updated) == 3 and len(ready) == 3:
            break
    await rolled_out(kybern_cluster)
    revisions, _ = await client.list_all(CONTROLLER_REVISIONS, "default")
    assert sorted(one["revision"] for one in revisions) == [1, 2]


async def test_on_delete_waits_for_the_user(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DAEMON_SETS, daemon_set("agent", updateStrategy={"type": "OnDelete"}))
    await rolled_out(kybern_cluster)
    await set_image(kybern_cluster, "app:2")

    def noticed(one: Obj) -> bool:
        status = objects.status(one)
        return status["observedGeneration"] == 2 and not status.get("updatedNumberScheduled")

    await kybern_cluster.wait_for(DAEMON_SETS, "agent", noticed)
    victim = (await living(kybern_cluster))[0]
    await client.delete(PODS, objects.name(victim), "default")

    def one_updated(one: Obj) -> bool:
        status = objects.status(one)
        return status.get("updatedNumberScheduled") == 1 and status.get("numberAvailable") == 3

    await kybern_cluster.wait_for(DAEMON_SETS, "agent", one_updated)
    images = [pod["spec"]["containers"][0]["image"] for pod in await living(kybern_cluster)]
    assert sorted(images) == ["app:1", "app:1", "app:2"]


async def test_undo_renumbers_the_old_revision(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(DAEMON_SETS, daemon_set("agent"))
    for image in ("app:2", "app:1"):
        await rolled_out(kybern_cluster)
        await set_image(kybern_cluster, image)
    await rolled_out(kybern_cluster)
    revisions, _ = await kybern_cluster.client.list_all(CONTROLLER_REVISIONS, "default")
    assert sorted(one["revision"] for one in revisions) == [2, 3]


async def test_failed_pods_are_replaced_and_told_of(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DAEMON_SETS, daemon_set("agent"))
    await rolled_out(kybern_cluster)
    victim = (await living(kybern_cluster))[0]
    await client.update_status(PODS, {**victim, "status": {"phase": "Failed"}})
    await kybern_cluster.wait_gone(PODS, objects.name(victim))
    await rolled_out(kybern_cluster)
    assert len(await living(kybern_cluster)) == 3

    async def told() -> bool:
        events = (await client.list(EVENTS, "default"))["items"]
        return "FailedDaemonPod" in {event["reason"] for event in events}

    await kybern_cluster.wait_until(told)
