"""Jobs run pods until enough of them have succeeded."""

import pytest
from manifests import job

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import JOBS, PODS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


def is_complete(obj: Obj) -> bool:
    return objects.condition_is(obj, "Complete")


async def test_a_job_counts_its_completions(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(JOBS, job("sums", completions=5, parallelism=2))
    done = await kybern_cluster.wait_for(JOBS, "sums", is_complete)
    assert objects.status(done)["succeeded"] == 5
    assert objects.condition_is(done, "SuccessCriteriaMet")
    assert objects.status(done)["completionTime"]
    pods, _ = await kybern_cluster.client.list_all(PODS, "default")
    assert len(pods) == 5
    assert all("batch.kubernetes.io/job-tracking" not in objects.finalizers(p) for p in pods)


async def test_an_indexed_job_runs_every_index_once(kybern_cluster: Cluster) -> None:
    spec = {"completions": 4, "parallelism": 2, "completionMode": "Indexed"}
    await kybern_cluster.client.create(JOBS, job("parts", **spec))
    done = await kybern_cluster.wait_for(JOBS, "parts", is_complete)
    assert objects.status(done)["completedIndexes"] == "0-3"
    pods, _ = await kybern_cluster.client.list_all(PODS, "default")
    indexes = [objects.annotations(p)["batch.kubernetes.io/job-completion-index"] for p in pods]
    assert sorted(indexes) == ["0", "1", "2", "3"]


@pytest.mark.kybern(nodes=0)
async def test_failing_pods_exhaust_the_backoff_limit(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(JOBS, job("broken", backoffLimit=2))

    async def fail_one() -> bool:
        pods, _ = await client.list_all(PODS, "default")
        for pod in pods:
            if not objects.is_pod_terminal(pod):
                await client.update_status(PODS, {**pod, "status": {"phase": "Failed"}})
        return objects.condition_is(await client.get(JOBS, "broken", "default"), "Failed")

    await kybern_cluster.wait_until(fail_one, patience=600)
    failed = await client.get(JOBS, "broken", "default")
    condition = objects.condition(failed, "Failed")
    assert condition is not None and condition["reason"] == "BackoffLimitExceeded"
    assert objects.status(failed)["failed"] == 3


@pytest.mark.kybern(nodes=0)
async def test_a_job_past_its_deadline_fails(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(JOBS, job("slow", activeDeadlineSeconds=30))

    def failed(obj: Obj) -> bool:
        return (objects.condition(obj, "Failed") or {}).get("reason") == "DeadlineExceeded"

    await kybern_cluster.wait_for(JOBS, "slow", failed, patience=120)


async def test_a_suspended_job_starts_when_resumed(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(JOBS, job("later", suspend=True))
    await kybern_cluster.wait_for(JOBS, "later", lambda o: objects.condition_is(o, "Suspended"))
    assert (await client.list(PODS, "default"))["items"] == []
    await client.patch(JOBS, "later", {"spec": {"suspend": False}}, "default")
    await kybern_cluster.wait_for(JOBS, "later", is_complete)


async def test_deleting_a_job_takes_its_pods_along(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(JOBS, job("gone"))
    await kybern_cluster.wait_for(JOBS, "gone", is_complete)
    await client.delete(JOBS, "gone", "default", propagation_policy="Background")

    async def empty() -> bool:
        return not (await client.list(PODS, "default"))["items"]

    await kybern_cluster.wait_until(empty)


@pytest.mark.kybern(nodes=0)
async def test_a_pod_that_leaves_its_job_is_held_no_longer(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(JOBS, job("loses"))

    async def pods() -> list[Obj]:
        return (await client.list_all(PODS, "default"))[0]

    async def has_one() -> bool:
        return len(await pods()) == 1

    await kybern_cluster.wait_until(has_one)
    [leaving] = await pods()
    name = objects.name(leaving)
    await client.patch(PODS, name, {"metadata": {"labels": None}}, "default")

    async def is_free() -> bool:
        pod = await client.get(PODS, name, "default")
        return not objects.finalizers(pod) and objects.controller_of(pod) is None

    await kybern_cluster.wait_until(is_free)
