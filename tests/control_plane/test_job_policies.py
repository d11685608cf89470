"""Which failures of a Job's pods count, and when it has succeeded enough; pods end by hand."""

import pytest
from manifests import job

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import JOBS, PODS
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=0)]

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


async def living(cluster: Cluster, count: int) -> list[Obj]:
    """The Job's active pods, once there are so many."""
    found: list[Obj] = []

    async def enough() -> bool:
        pods, _ = await cluster.client.list_all(PODS, "default")
        found[:] = [pod for pod in pods if objects.is_pod_active(pod)]
        return len(found) == count

    await cluster.wait_until(enough, patience=1300)
    return sorted(found, key=lambda pod: objects.annotations(pod).get(INDEX, ""))


async def end(cluster: Cluster, pod: Obj, code: int = 0, condition: str = "") -> None:
    now = cluster.clock.timestamp()
    terminated = {"exitCode": code, "finishedAt": now, "startedAt": now, "reason": "Done"}
    container = {"name": "main", "image": "app:1", "imageID": "", "ready": False}
    container |= {"restartCount": 0, "state": {"terminated": terminated}}
    status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}
    if condition:
        status["conditions"] = [{"type": condition, "status": "True", "lastTransitionTime": now}]
    await cluster.client.update_status(PODS, {**pod, "status": status})


async def ended(cluster: Cluster, final: str, reason: str) -> Obj:
    def is_over(obj: Obj) -> bool:
        found = objects.condition(obj, final) or {}
        return found.get("status") == "True" and found.get("reason") == reason

    return await cluster.wait_for(JOBS, "work", is_over, patience=600)


def policy(*rules: Obj) -> Obj:
    return {"podFailurePolicy": {"rules": list(rules)}}


async def test_a_fatal_exit_code_fails_the_job(kybern_cluster: Cluster) -> None:
    codes = {"operator": "In", "values": [42]}
    spec = policy({"action": "FailJob", "onExitCodes": codes})
    await kybern_cluster.client.create(JOBS, job("work", parallelism=2, completions=2, **spec))
    first, second = await living(kybern_cluster, 2)
    await end(kybern_cluster, first, 42)
    failed = await ended(kybern_cluster, "Failed", "PodFailurePolicy")
    message = (objects.condition(failed, "Failed") or {})["message"]
    assert message == (
        f"Container main for pod default/{objects.name(first)} failed with exit code 42"
        " matching FailJob rule at index 0"
    )
    assert objects.condition_is(failed, "FailureTarget")
    assert objects.status(failed)["failed"] == 2
    await kybern_cluster.wait_gone(PODS, objects.name(second))


async def test_ignored_failures_do_not_count(kybern_cluster: Cluster) -> None:
    pattern = {"type": "DisruptionTarget", "status": "True"}
    spec = policy({"action": "Ignore", "onPodConditions": [pattern]})
    await kybern_cluster.client.create(JOBS, job("work", backoffLimit=0, **spec))
    for _ in range(3):
        (pod,) = await living(kybern_cluster, 1)
        await end(kybern_cluster, pod, 137, "DisruptionTarget")
    (pod,) = await living(kybern_cluster, 1)
    await end(kybern_cluster, pod)
    done = await ended(kybern_cluster, "Complete", "CompletionsReached")
    assert not objects.status(done).get("failed")


async def test_an_index_fails_alone(kybern_cluster: Cluster) -> None:
    spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
    await kybern_cluster.client.create(JOBS, job("work", backoffLimitPerIndex=1, **spec))
    first, second, third = await living(kybern_cluster, 3)
    await end(kybern_cluster, second, 1)
    retried = (await living(kybern_cluster, 3))[1]
    assert objects.uid(retried) != objects.uid(second)
    assert objects.annotations(retried)[FAILURES] == "1"
    await end(kybern_cluster, retried, 1)
    await living(kybern_cluster, 2)
    await end(kybern_cluster, first)
    await end(kybern_cluster, third)
    failed = await ended(kybern_cluster, "Failed", "FailedIndexes")
    status = objects.status(failed)
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1", "0,2")
    assert (status["failed"], status["succeeded"]) == (2, 2)


async def test_too_many_failed_indexes_end_the_job(kybern_cluster: Cluster) -> None:
    spec = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
    limits = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 1}
    await kybern_cluster.client.create(JOBS, job("work", **spec, **limits))
    pods = await living(kybern_cluster, 4)
    await end(kybern_cluster, pods[0], 1)
    await living(kybern_cluster, 3)
    await end(kybern_cluster, pods[3], 1)
    failed = await ended(kybern_cluster, "Failed", "MaxFailedIndexesExceeded")
    assert objects.status(failed)["failedIndexes"] == "0,3"
    await living(kybern_cluster, 0)


@pytest.mark.parametrize(
    "rule", [{"succeededIndexes": "1-2", "succeededCount": 1}, {"succeededIndexes": "2"}]
)
async def test_enough_indexes_make_a_success(kybern_cluster: Cluster, rule: Obj) -> None:
    spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
    await kybern_cluster.client.create(JOBS, job("work", successPolicy={"rules": [rule]}, **spec))
    pods = await living(kybern_cluster, 3)
    await end(kybern_cluster, pods[0])
    await kybern_cluster.wait_for(
        JOBS, "work", lambda one: objects.status(one).get("succeeded") == 1
    )
    await end(kybern_cluster, pods[2])
    done = await ended(kybern_cluster, "Complete", "SuccessPolicy")
    message = (objects.condition(done, "Complete") or {})["message"]
    assert message == "Matched rules at index 0"
    assert objects.status(done)["completedIndexes"] == "0,2"
    assert not objects.status(done).get("failed")
    await living(kybern_cluster, 0)


async def test_pods_that_a_suspended_job_drops_are_no_failures(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(JOBS, job("work", parallelism=3, completions=3, backoffLimit=0))
    await living(kybern_cluster, 3)
    await client.patch(JOBS, "work", {"spec": {"suspend": True}}, "default")
    await living(kybern_cluster, 0)
    await client.patch(JOBS, "work", {"spec": {"suspend": False, "parallelism": 1}}, "default")
    (pod,) = await living(kybern_cluster, 1)
    shown = await client.get(JOBS, "work", "default")
    assert not objects.status(shown).get("failed")
    assert objects.condition_is(shown, "Suspended", "False")
    assert objects.finalizers(pod) == ["batch.kubernetes.io/job-tracking"]
