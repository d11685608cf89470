"""Nodes: their ranges, their health, and what happens to pods when they fall silent."""

import pytest
from manifests import pod, ready_node, workload

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import DEPLOYMENTS, NODES, PODS
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

UNREACHABLE = "node.kubernetes.io/unreachable"


def taints(node: Obj) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints") or ()}


@pytest.mark.kybern(nodes=5)
async def test_every_node_gets_a_range_of_its_own(kybern_cluster: Cluster) -> None:
    async def assigned() -> bool:
        nodes, _ = await kybern_cluster.client.list_all(NODES)
        return all(node["spec"].get("podCIDR") for node in nodes)

    await kybern_cluster.wait_until(assigned)
    nodes, _ = await kybern_cluster.client.list_all(NODES)
    ranges = [node["spec"]["podCIDR"] for node in nodes]
    assert len(set(ranges)) == 5
    assert all(one.startswith("10.244.") and one.endswith("/24") for one in ranges)


async def test_cordoning_taints_the_node(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    name = (await client.list(NODES))["items"][0]["metadata"]["name"]
    cordoned = ("node.kubernetes.io/unschedulable", "NoSchedule")
    await client.patch(NODES, name, {"spec": {"unschedulable": True}})
    await kybern_cluster.wait_for(NODES, name, lambda node: cordoned in taints(node))
    await client.patch(NODES, name, {"spec": {"unschedulable": None}})
    await kybern_cluster.wait_for(NODES, name, lambda node: cordoned not in taints(node))


async def test_a_silent_node_is_marked_tainted_and_emptied(kybern_cluster: Cluster) -> None:
    """A node that says nothing for 50 s is Unknown; 300 s later its pods have moved."""
    client, clock = kybern_cluster.client, kybern_cluster.clock
    await client.create(NODES, ready_node("silent", clock.timestamp()))
    await kybern_cluster.wait_for(NODES, "silent", lambda node: not taints(node))
    web = workload("web", 1)
    web["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "silent"}
    await client.create(PODS, pod("stuck", nodeName="silent"))
    started = clock.time()
    node = await kybern_cluster.wait_for(
        NODES, "silent", lambda n: objects.condition_is(n, "Ready", "Unknown"), patience=120
    )
    assert 50 <= clock.time() - started < 70
    condition = objects.condition(node, "Ready")
    assert condition is not None and condition["reason"] == "NodeStatusUnknown"
    await kybern_cluster.wait_for(
        NODES,
        "silent",
        lambda n: {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")} <= taints(n),
    )
    evicted = await kybern_cluster.wait_for(PODS, "stuck", objects.is_deleting, patience=400)
    assert objects.condition_is(evicted, "DisruptionTarget")
    assert clock.time() - started >= 300


async def test_pods_of_a_silent_node_move(kybern_cluster: Cluster) -> None:
    client, clock = kybern_cluster.client, kybern_cluster.clock
    await client.create(NODES, ready_node("silent", clock.timestamp()))
    await client.create(DEPLOYMENTS, workload("web", 6))

    async def some_on_silent() -> bool:
        pods, _ = await client.list_all(PODS, "default")
        return len(pods) == 6 and all(p["spec"].get("nodeName") for p in pods)

    await kybern_cluster.wait_until(some_on_silent)

    def all_available(deployment: Obj) -> bool:
        return objects.status(deployment).get("availableReplicas") == 6

    await kybern_cluster.wait_for(DEPLOYMENTS, "web", all_available, patience=600)


async def test_pods_of_a_deleted_node_are_collected(kybern_cluster: Cluster) -> None:
    client, clock = kybern_cluster.client, kybern_cluster.clock
    await client.create(NODES, ready_node("gone", clock.timestamp()))
    await client.create(PODS, pod("left", nodeName="gone"))
    await client.delete(NODES, "gone")
    await kybern_cluster.wait_gone(PODS, "left", patience=120)


async def test_a_toleration_without_an_end_keeps_the_pod(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    name = (await client.list(NODES))["items"][0]["metadata"]["name"]
    stays = pod("stays", tolerations=[{"key": "maintenance", "operator": "Exists"}])
    await client.create(PODS, stays)
    await client.create(PODS, pod("leaves"))
    for one in ("stays", "leaves"):
        await kybern_cluster.wait_for(PODS, one, objects.is_pod_ready)
    taint = {"key": "maintenance", "effect": "NoExecute"}
    await client.patch(NODES, name, {"spec": {"taints": [taint]}})
    await kybern_cluster.wait_gone(PODS, "leaves")
    assert objects.is_pod_ready(await client.get(PODS, "stays", "default"))
