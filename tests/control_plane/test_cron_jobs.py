"""CronJobs make Jobs when their schedule says so; finished Jobs go after a while."""

import asyncio

import pytest
from manifests import cron_job, job

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import CRON_JOBS, EVENTS, JOBS, PODS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


async def jobs(cluster: Cluster) -> list[Obj]:
    found, _ = await cluster.client.list_all(JOBS, "default")
    return found


async def wait_for_jobs(cluster: Cluster, count: int) -> list[Obj]:
    async def enough() -> bool:
        return len(await jobs(cluster)) == count

    await cluster.wait_until(enough, patience=600)
    return await jobs(cluster)


async def test_a_job_a_minute_and_three_are_kept(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    made = cron_job("tick", "* * * * *", timeZone="Asia/Tokyo")
    made["spec"]["jobTemplate"]["metadata"] = {"labels": {"a": "b"}}
    await client.create(CRON_JOBS, made)
    first = (await wait_for_jobs(kybern_cluster, 1))[0]
    due = objects.annotations(first)["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert due == "2030-01-01T09:01:00+09:00"
    assert objects.name(first) == f"tick-{int(objects.epoch(due)) // 60}"
    assert objects.labels(first)["a"] == "b"
    assert objects.controller_of(first)["name"] == "tick"  # type: ignore[index]
    await asyncio.sleep(400)
    kept = await jobs(kybern_cluster)
    assert len([one for one in kept if objects.condition_is(one, "Complete")]) == 3
    assert objects.name(first) not in map(objects.name, kept)
    status = objects.status(await client.get(CRON_JOBS, "tick", "default"))
    assert objects.epoch(status["lastScheduleTime"]) >= objects.epoch(due) + 360
    assert objects.epoch(status["lastSuccessfulTime"]) >= objects.epoch(due) + 300
    events = (await client.list(EVENTS, "default"))["items"]
    reasons = {one["reason"] for one in events if one["involvedObject"]["kind"] == "CronJob"}
    assert {"SuccessfulCreate", "SawCompletedJob", "SuccessfulDelete"} <= reasons


@pytest.mark.kybern(nodes=0)
@pytest.mark.parametrize(("policy", "kept"), [("Allow", 3), ("Forbid", 1), ("Replace", 1)])
async def test_concurrency_is_as_the_policy_says(
    kybern_cluster: Cluster, policy: str, kept: int
) -> None:
    """Without nodes no Job ever ends."""
    client = kybern_cluster.client
    await client.create(CRON_JOBS, cron_job("tick", "* * * * *", concurrencyPolicy=policy))
    first = (await wait_for_jobs(kybern_cluster, 1))[0]
    await asyncio.sleep(125)
    found = await jobs(kybern_cluster)
    assert len(found) == kept
    status = objects.status(await client.get(CRON_JOBS, "tick", "default"))
    active = {one["uid"] for one in status["active"]}
    assert active == set(map(objects.uid, found))
    assert (objects.uid(first) in active) == (policy != "Replace")


@pytest.mark.kybern(nodes=0)
async def test_a_suspended_cron_job_waits_and_missed_times_have_a_deadline(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    made = cron_job("tick", "*/5 * * * *", suspend=True, startingDeadlineSeconds=10)
    await client.create(CRON_JOBS, made)
    await asyncio.sleep(390)
    assert await jobs(kybern_cluster) == []
    await client.patch(CRON_JOBS, "tick", {"spec": {"suspend": False}}, "default")
    await asyncio.sleep(10)
    assert await jobs(kybern_cluster) == []
    await kybern_cluster.client.patch(
        CRON_JOBS, "tick", {"spec": {"startingDeadlineSeconds": 200}}, "default"
    )
    made_up_for = (await wait_for_jobs(kybern_cluster, 1))[0]
    due = objects.annotations(made_up_for)["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert due == "2030-01-01T00:05:00Z"


async def test_finished_jobs_go_after_their_time(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(JOBS, job("brief", ttlSecondsAfterFinished=100))
    done = await kybern_cluster.wait_for(
        JOBS, "brief", lambda one: objects.condition_is(one, "Complete")
    )
    ended = objects.epoch((objects.condition(done, "Complete") or {})["lastTransitionTime"])
    await kybern_cluster.wait_gone(JOBS, "brief", patience=200)
    assert 100 <= kybern_cluster.clock.time() - ended < 110
    assert (await client.list(PODS, "default"))["items"] == []
