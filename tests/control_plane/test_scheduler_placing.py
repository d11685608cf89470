"""The scheduler against the API server: bindings, conditions, events, preemption, gates."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from manifests import pod, workload

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import DEPLOYMENTS, EVENTS, NODES, PODS, PRIORITY_CLASSES
from kybern.api.user import ADMIN
from kybern.client import Client
from kybern.hollow.config import Config as HollowConfig
from kybern.scheduler import main as scheduler
from kybern.scheduler.config import Config
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

Obj = dict[str, Any]


def sized(name: str, cpu: str, **spec: Any) -> Obj:
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}
    return pod(name, containers=[container], **spec)


def is_running(obj: Obj) -> bool:
    return objects.pod_phase(obj) == "Running"


def waits_for_room(obj: Obj) -> bool:
    return objects.condition_is(obj, "PodScheduled", "False")


@contextlib.asynccontextmanager
async def running_scheduler(cluster: Cluster, client: Client) -> AsyncIterator[None]:
    task = asyncio.create_task(scheduler.run(client, cluster.clock, Config(leader_elect=False)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def events_of(cluster: Cluster, name: str) -> list[Obj]:
    found, _ = await cluster.client.list_all(
        EVENTS, "default", field_selector=f"involvedObject.name={name}"
    )
    return found


async def test_a_pod_is_bound_and_an_event_says_where(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(PODS, pod("web"))
    bound = await kybern_cluster.wait_for(PODS, "web", is_running)
    assert bound["spec"]["nodeName"] == "simulated-0"
    assert objects.condition_is(bound, "PodScheduled")

    async def told() -> bool:
        return bool(await scheduled_events())

    async def scheduled_events() -> list[Obj]:
        found = await events_of(kybern_cluster, "web")
        return [event for event in found if event["reason"] == "Scheduled"]

    await kybern_cluster.wait_until(told)
    (event,) = await scheduled_events()
    assert event["message"] == "Successfully assigned default/web to simulated-0"
    assert (event["type"], event["action"]) == ("Normal", "Binding")
    assert event["reportingComponent"] == "default-scheduler"
    assert event["eventTime"] and not event["firstTimestamp"] and not event["source"]


@pytest.mark.kybern(nodes=3)
async def test_a_pod_that_fits_nowhere_is_told_why_and_waits_for_room(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    for number in range(3):
        await client.create(PODS, sized(f"full-{number}", "7"))
    for number in range(3):
        await kybern_cluster.wait_for(PODS, f"full-{number}", is_running)
    await client.patch(NODES, "simulated-2", {"spec": {"unschedulable": True}})
    await client.create(PODS, sized("late", "4"))
    waiting = await kybern_cluster.wait_for(PODS, "late", waits_for_room)
    condition = objects.condition(waiting, "PodScheduled")
    assert condition is not None
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. "
        "no new claims to deallocate, preemption: 0/3 nodes are available: "
        "1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )
    nodes = {
        objects.name(p): p["spec"]["nodeName"]
        for p in (await client.list(PODS, "default"))["items"]
        if p["spec"].get("nodeName")
    }
    victim = next(name for name, node in nodes.items() if node != "simulated-2")
    await client.delete(PODS, victim, "default")
    bound = await kybern_cluster.wait_for(PODS, "late", is_running)
    assert bound["spec"]["nodeName"] == nodes[victim]


@pytest.mark.kybern(nodes=2)
async def test_a_gated_pod_waits_until_its_gates_are_gone(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("gated", schedulingGates=[{"name": "example.com/quota"}]))
    await client.create(PODS, pod("other"))
    await kybern_cluster.wait_for(PODS, "other", is_running)
    gated = await client.get(PODS, "gated", "default")
    assert "nodeName" not in gated["spec"]
    await client.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, "default")
    await kybern_cluster.wait_for(PODS, "gated", is_running)


async def test_a_more_important_pod_takes_the_room_of_a_lesser_one(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await client.create(PRIORITY_CLASSES, {"metadata": {"name": "vital"}, "value": 1000})
    await client.create(PODS, sized("lesser", "6"))
    await kybern_cluster.wait_for(PODS, "lesser", is_running)
    await client.create(PODS, sized("vital", "6", priorityClassName="vital"))
    await kybern_cluster.wait_gone(PODS, "lesser")
    bound = await kybern_cluster.wait_for(PODS, "vital", is_running)
    assert bound["spec"]["nodeName"] == "simulated-0"

    async def preempted() -> list[Obj]:
        events = await events_of(kybern_cluster, "lesser")
        return [event for event in events if event["reason"] == "Preempted"]

    async def told() -> bool:
        return bool(await preempted())

    await kybern_cluster.wait_until(told)
    (event,) = await preempted()
    assert event["action"] == "Preempting"
    assert event["involvedObject"]["kind"] == event["related"]["kind"] == "Pod"
    assert event["related"]["uid"] == bound["metadata"]["uid"]


@pytest.mark.kybern(nodes=4, hollow=HollowConfig(node_zones=2))
async def test_replicas_spread_over_nodes(kybern_cluster: Cluster) -> None:
    await kybern_cluster.client.create(DEPLOYMENTS, workload("web", 8))

    async def all_bound() -> bool:
        pods, _ = await kybern_cluster.client.list_all(PODS, "default")
        return len(pods) == 8 and all(is_running(p) for p in pods)

    await kybern_cluster.wait_until(all_bound)
    pods, _ = await kybern_cluster.client.list_all(PODS, "default")
    nodes = [p["spec"]["nodeName"] for p in pods]
    assert sorted(nodes.count(f"simulated-{i}") for i in range(4)) == [2, 2, 2, 2]


@pytest.mark.kybern(nodes=2, scheduler=False)
async def test_failed_binds_are_tried_again_and_leave_no_room_taken(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client_as(ADMIN)
    create, failures = client.create, [0]

    async def flaky(resource: Any, obj: Obj, namespace: Any = None, **options: Any) -> Obj:
        if options.get("subresource") == "binding" and failures[0] < 5:
            failures[0] += 1
            raise StatusError(500, "InternalError", "no")
        return await create(resource, obj, namespace, **options)

    client.create = flaky  # type: ignore[method-assign]
    async with running_scheduler(kybern_cluster, client):
        for number in range(4):
            await kybern_cluster.client.create(PODS, sized(f"big-{number}", "4"))
        for number in range(4):
            await kybern_cluster.wait_for(PODS, f"big-{number}", is_running)
    assert failures[0] == 5


@pytest.mark.kybern(nodes=5, scheduler=False)
async def test_two_schedulers_racing_bind_every_pod_once(kybern_cluster: Cluster) -> None:
    first, second = (kybern_cluster.client_as(ADMIN) for _ in range(2))
    async with (
        running_scheduler(kybern_cluster, first),
        running_scheduler(kybern_cluster, second),
    ):
        for number in range(30):
            await kybern_cluster.client.create(PODS, pod(f"p{number}"))
        for number in range(30):
            await kybern_cluster.wait_for(PODS, f"p{number}", is_running)
        # No assumed pod may be left behind: the whole room is there for one more.
        used = len((await kybern_cluster.client.list(PODS, "default"))["items"])
        assert used == 30
