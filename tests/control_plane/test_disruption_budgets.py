"""PodDisruptionBudgets tell how many of their pods may go, and evictions keep to it."""

import asyncio

import pytest
from manifests import pod, workload

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time


def budget(**spec: object) -> Obj:
    meta = {"name": "keep", "namespace": "default"}
    return {"metadata": meta, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}


async def counted(cluster: Cluster, **counts: int) -> Obj:
    """The budget, once its status shows the counts."""

    def shows(one: Obj) -> bool:
        status = objects.status(one)
        return all(status.get(field, 0) == count for field, count in counts.items())

    return await cluster.wait_for(POD_DISRUPTION_BUDGETS, "keep", shows)


async def evict(cluster: Cluster, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await cluster.client.create(PODS, eviction, "default", name=name, subresource="eviction")


async def pods(cluster: Cluster) -> list[Obj]:
    found, _ = await cluster.client.list_all(PODS, "default")
    return [one for one in found if objects.is_pod_active(one)]


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 2, 1),
        ({"minAvailable": "50%"}, 2, 1),
        ({"maxUnavailable": 1}, 2, 1),
        ({"maxUnavailable": "70%"}, 0, 3),
        ({"minAvailable": 5}, 5, 0),
    ],
)
async def test_the_status_follows_from_the_scale(
    kybern_cluster: Cluster, spec: Obj, desired: int, allowed: int
) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 3))
    await client.create(POD_DISRUPTION_BUDGETS, budget(**spec))
    shown = await counted(
        kybern_cluster,
        currentHealthy=3,
        expectedPods=3,
        desiredHealthy=desired,
        disruptionsAllowed=allowed,
        observedGeneration=1,
    )
    condition = objects.condition(shown, "DisruptionAllowed") or {}
    wanted = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    assert (condition["status"], condition["reason"]) == wanted


async def test_evictions_wait_for_the_next_healthy_pod(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(DEPLOYMENTS, workload("web", 3))
    await client.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    await counted(kybern_cluster, disruptionsAllowed=1)
    first, second, _ = map(objects.name, await pods(kybern_cluster))
    await evict(kybern_cluster, first)
    with pytest.raises(StatusError) as refused:
        await evict(kybern_cluster, second)
    assert refused.value.code == 429
    await counted(kybern_cluster, disruptionsAllowed=1, currentHealthy=3)
    await evict(kybern_cluster, second)


async def test_a_budget_over_pods_without_controllers(kybern_cluster: Cluster) -> None:
    """Bare pods have no scale: only a number of available pods can be kept."""
    client = kybern_cluster.client
    await client.create(PODS, pod("bare", labels={"app": "web"}))
    await client.create(POD_DISRUPTION_BUDGETS, budget(minAvailable=0))
    await counted(kybern_cluster, expectedPods=1, currentHealthy=1, disruptionsAllowed=1)
    await client.delete(POD_DISRUPTION_BUDGETS, "keep", "default")
    await client.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    await counted(kybern_cluster, observedGeneration=1, expectedPods=0, disruptionsAllowed=0)


@pytest.mark.kybern(nodes=0)
async def test_unknown_controllers_allow_nothing(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    made = pod("odd", labels={"app": "web"})
    owner = {"apiVersion": "example.com/v1", "kind": "Odd", "name": "x", "uid": "u"}
    made["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    await client.create(PODS, made)
    await client.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))

    def failed(one: Obj) -> bool:
        condition = objects.condition(one, "DisruptionAllowed") or {}
        return (condition.get("status"), condition.get("reason")) == ("False", "SyncFailed")

    await kybern_cluster.wait_for(POD_DISRUPTION_BUDGETS, "keep", failed)


async def test_a_stale_mark_of_disruption_goes(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("spared"))
    running = await kybern_cluster.wait_for(PODS, "spared", objects.is_pod_ready)
    marked = objects.copy(running)
    now = kybern_cluster.clock.timestamp()
    objects.set_condition(marked, "DisruptionTarget", "True", "EvictionByEvictionAPI", "", now)
    await client.update_status(PODS, marked)
    await asyncio.sleep(100)
    still = await client.get(PODS, "spared", "default")
    assert objects.condition_is(still, "DisruptionTarget")
    await kybern_cluster.wait_for(
        PODS, "spared", lambda one: objects.condition_is(one, "DisruptionTarget", "False")
    )
