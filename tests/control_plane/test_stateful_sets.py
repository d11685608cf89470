"""StatefulSets give pods an ordinal, a name and claims, and change them in order."""

import pytest
from manifests import pod, stateful_set

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    CONTROLLER_REVISIONS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
)
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

DATA = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def is_settled(obj: Obj) -> bool:
    status, wanted = objects.status(obj), obj["spec"]["replicas"]
    return (
        status.get("observedGeneration") == objects.generation(obj)
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def is_updated(obj: Obj) -> bool:
    status = objects.status(obj)
    return is_settled(obj) and status.get("currentRevision") == status.get("updateRevision")


async def settled(cluster: Cluster, condition=is_settled) -> Obj:  # type: ignore[no-untyped-def]
    return await cluster.wait_for(STATEFUL_SETS, "db", condition, patience=300)


async def set_image(cluster: Cluster, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    await cluster.client.patch(STATEFUL_SETS, "db", patch, "default", kind="strategic")


async def images(cluster: Cluster) -> dict[str, str]:
    pods, _ = await cluster.client.list_all(PODS, "default")
    return {objects.name(one): one["spec"]["containers"][0]["image"] for one in pods}


async def replaced(cluster: Cluster, name: str) -> None:
    """Delete a pod and see another under its name."""
    before = objects.uid(await cluster.client.get(PODS, name, "default"))
    await cluster.client.delete(PODS, name, "default")
    await cluster.wait_for(PODS, name, lambda one: objects.uid(one) != before)


async def claims(cluster: Cluster) -> dict[str, list[str]]:
    """Names of claims with the kinds of their owners."""
    found, _ = await cluster.client.list_all(PERSISTENT_VOLUME_CLAIMS, "default")
    return {
        objects.name(one): [owner["kind"] for owner in objects.owner_references(one)]
        for one in found
    }


async def pod_events(cluster: Cluster, revision: str, until: int) -> list[tuple[str, str]]:
    """(what, pod) in the order in which pods appear, get ready and go."""
    seen: list[tuple[str, str]] = []
    async for event in cluster.client.watch(PODS, "default", resource_version=revision):
        if event["type"] == "BOOKMARK":
            continue
        obj = event["object"]
        what = {"ADDED": "new", "DELETED": "gone"}.get(event["type"], "")
        if not what and objects.is_pod_ready(obj) and not objects.is_deleting(obj):
            what = "ready"
        if what and (what, objects.name(obj)) not in seen:
            seen.append((what, objects.name(obj)))
        if len(seen) == until:
            return seen
    raise AssertionError("the watch ended")


async def test_pods_come_and_go_in_order(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    _, revision = await client.list_all(PODS, "default")
    await client.create(STATEFUL_SETS, stateful_set("db", 3))
    seen = await pod_events(kybern_cluster, revision, 6)
    assert seen == [(what, f"db-{n}") for n in range(3) for what in ("new", "ready")]
    await settled(kybern_cluster)
    first = await client.get(PODS, "db-0", "default")
    assert first["spec"]["hostname"] == "db-0"
    assert first["spec"]["subdomain"] == "db"
    assert objects.labels(first)["statefulset.kubernetes.io/pod-name"] == "db-0"
    assert objects.labels(first)["apps.kubernetes.io/pod-index"] == "0"
    _, revision = await client.list_all(PODS, "default")
    await client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, "default")
    seen = await pod_events(kybern_cluster, revision, 2)
    assert seen == [("gone", "db-2"), ("gone", "db-1")]
    await settled(kybern_cluster)


@pytest.mark.kybern(nodes=0)
async def test_parallel_sets_do_not_wait(kybern_cluster: Cluster) -> None:
    """Without nodes nothing gets ready, and still all pods are there."""
    client = kybern_cluster.client
    spec = {"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}
    await client.create(STATEFUL_SETS, stateful_set("db", 3, **spec))
    await settled(kybern_cluster, lambda one: objects.status(one).get("replicas") == 3)
    assert sorted(await images(kybern_cluster)) == ["db-5", "db-6", "db-7"]


async def test_a_deleted_pod_comes_back_by_its_name(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(STATEFUL_SETS, stateful_set("db", 2))
    await settled(kybern_cluster)
    await replaced(kybern_cluster, "db-0")
    await settled(kybern_cluster)


async def test_an_update_goes_from_the_highest_to_the_partition(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await client.create(STATEFUL_SETS, stateful_set("db", 3, updateStrategy=strategy))
    await settled(kybern_cluster)
    _, revision = await client.list_all(PODS, "default")
    await set_image(kybern_cluster, "app:2")
    seen = await pod_events(kybern_cluster, revision, 6)
    assert seen == [(w, name) for name in ("db-2", "db-1") for w in ("gone", "new", "ready")]

    def partial(one: Obj) -> bool:
        return is_settled(one) and objects.status(one).get("updatedReplicas") == 2

    await settled(kybern_cluster, partial)
    assert await images(kybern_cluster) == {"db-0": "app:1", "db-1": "app:2", "db-2": "app:2"}
    # A pod below the partition comes back with the template it had.
    await replaced(kybern_cluster, "db-0")
    await settled(kybern_cluster, partial)
    assert (await images(kybern_cluster))["db-0"] == "app:1"
    patch = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await client.patch(STATEFUL_SETS, "db", patch, "default")
    done = await settled(kybern_cluster, is_updated)
    assert objects.status(done)["currentReplicas"] == 3
    assert set((await images(kybern_cluster)).values()) == {"app:2"}


async def test_on_delete_waits_for_the_user(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    strategy = {"type": "OnDelete"}
    await client.create(STATEFUL_SETS, stateful_set("db", 2, updateStrategy=strategy))
    await settled(kybern_cluster)
    await set_image(kybern_cluster, "app:2")
    await settled(kybern_cluster)
    assert set((await images(kybern_cluster)).values()) == {"app:1"}
    await client.delete(PODS, "db-0", "default")
    await kybern_cluster.wait_for(
        PODS, "db-0", lambda one: one["spec"]["containers"][0]["image"] == "app:2"
    )
    revisions, _ = await client.list_all(CONTROLLER_REVISIONS, "default")
    assert sorted(one["revision"] for one in revisions) == [1, 2]


async def test_history_is_trimmed(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(STATEFUL_SETS, stateful_set("db", 1, revisionHistoryLimit=1))
    for version in range(2, 5):
        await settled(kybern_cluster, is_updated)
        await set_image(kybern_cluster, f"app:{version}")
    await settled(kybern_cluster, is_updated)

    async def trimmed() -> bool:
        found, _ = await client.list_all(CONTROLLER_REVISIONS, "default")
        return sorted(one["revision"] for one in found) == [3, 4]

    await kybern_cluster.wait_until(trimmed)


async def test_min_ready_seconds_delay_the_next_pod(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(STATEFUL_SETS, stateful_set("db", 2, minReadySeconds=30))
    await settled(kybern_cluster)
    pods = [await client.get(PODS, f"db-{n}", "default") for n in range(2)]
    first_ready = (objects.condition(pods[0], "Ready") or {})["lastTransitionTime"]
    later = objects.epoch(pods[1]["metadata"]["creationTimestamp"]) - objects.epoch(first_ready)
    assert later >= 30


@pytest.mark.kybern(scheduler=False, nodes=0)
@pytest.mark.parametrize(
    ("policy", "scaled", "deleted"),
    [
        ({}, ["data-db-0", "data-db-1"], ["data-db-0", "data-db-1"]),
        ({"whenScaled": "Delete"}, ["data-db-0"], ["data-db-0"]),
        ({"whenDeleted": "Delete"}, ["data-db-0", "data-db-1"], []),
        ({"whenScaled": "Delete", "whenDeleted": "Delete"}, ["data-db-0"], []),
    ],
)
async def test_claims_go_as_their_policy_says(
    kybern_cluster: Cluster, policy: Obj, scaled: list[str], deleted: list[str]
) -> None:
    client = kybern_cluster.client
    spec = {"volumeClaimTemplates": [DATA], "podManagementPolicy": "Parallel"}
    made = stateful_set("db", 2, persistentVolumeClaimRetentionPolicy=policy, **spec)
    await client.create(STATEFUL_SETS, made)
    await settled(kybern_cluster, lambda one: objects.status(one).get("replicas") == 2)
    first = await client.get(PODS, "db-0", "default")
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}
    assert volume in first["spec"]["volumes"]
    owner = ["StatefulSet"] if policy.get("whenDeleted") else []

    async def owned() -> bool:
        return await claims(kybern_cluster) == {"data-db-0": owner, "data-db-1": owner}

    await kybern_cluster.wait_until(owned)
    await client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, "default")
    await kybern_cluster.wait_gone(PODS, "db-1")

    async def left(names: list[str]) -> bool:
        return sorted(await claims(kybern_cluster)) == names

    await kybern_cluster.wait_until(lambda: left(scaled))
    await client.delete(STATEFUL_SETS, "db", "default", propagation_policy="Background")
    await kybern_cluster.wait_gone(PODS, "db-0")
    await kybern_cluster.wait_until(lambda: left(deleted))


@pytest.mark.kybern(nodes=0)
async def test_a_name_that_is_taken_is_waited_for(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("db-0"))
    await client.create(STATEFUL_SETS, stateful_set("db", 1))

    async def refused() -> bool:
        revisions, _ = await client.list_all(CONTROLLER_REVISIONS, "default")
        return len(revisions) == 1

    await kybern_cluster.wait_until(refused)
    await client.delete(PODS, "db-0", "default")

    async def own() -> bool:
        found = (await client.list(PODS, "default"))["items"]
        return any((objects.controller_of(one) or {}).get("name") == "db" for one in found)

    await kybern_cluster.wait_until(own)

    async def told() -> bool:
        events = (await client.list(EVENTS, "default"))["items"]
        return "Create Pod db-0 in StatefulSet db successful" in {e["message"] for e in events}

    await kybern_cluster.wait_until(told)
