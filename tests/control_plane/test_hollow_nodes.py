"""Simulated nodes: registration, leases, and the stages of pods' lives."""

from typing import Any

import pytest
from manifests import pod

from kybern.api import objects
from kybern.api.resources import LEASES, NODES, PODS
from kybern.hollow.config import Config as HollowConfig
from kybern.hollow.nodes import LEASE_NAMESPACE
from kybern.testing import Cluster, advance

pytestmark = pytest.mark.virtual_time

Obj = dict[str, Any]


def annotated(name: str, annotations: dict[str, str], **spec: Any) -> Obj:
    made = pod(name, **spec)
    made["metadata"]["annotations"] = {f"hollow.kybern.io/{k}": v for k, v in annotations.items()}
    return made


def first_container(obj: Obj) -> Obj:
    statuses = objects.status(obj).get("containerStatuses") or [{}]
    return dict(statuses[0])


def waits_for(reason: str) -> Any:
    def condition(obj: Obj) -> bool:
        waiting = (first_container(obj).get("state") or {}).get("waiting") or {}
        return waiting.get("reason") == reason

    return condition


def is_running(obj: Obj) -> bool:
    return objects.pod_phase(obj) == "Running"


@pytest.mark.kybern(nodes=2, hollow=HollowConfig(node_zones=2, node_labels=("tier=gold",)))
async def test_nodes_register_ready_with_labels_addresses_and_room(
    kybern_cluster: Cluster,
) -> None:
    nodes, _ = await kybern_cluster.client.list_all(NODES)
    assert [objects.name(n) for n in nodes] == ["simulated-0", "simulated-1"]
    for index, node in enumerate(nodes):
        assert objects.condition_is(node, "Ready")
        assert objects.labels(node)["topology.kubernetes.io/zone"] == f"zone-{index}"
        assert objects.labels(node)["tier"] == "gold"
        assert objects.status(node)["allocatable"]["cpu"] == "8"
    addresses = [objects.status(n)["addresses"][0]["address"] for n in nodes]
    assert len(set(addresses)) == 2


async def test_a_node_that_was_declared_dead_says_that_it_lives(kybern_cluster: Cluster) -> None:
    def ready(node: Obj) -> Obj:
        return objects.condition(node, "Ready") or {}

    client = kybern_cluster.client
    dead = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "gone"}
    patch = {"status": {"conditions": [dead]}}
    await client.patch(NODES, "simulated-0", patch, kind="strategic", subresource="status")
    node = await kybern_cluster.wait_for(
        NODES, "simulated-0", lambda node: ready(node)["status"] == "True", patience=30
    )
    assert ready(node)["reason"] == "KubeletReady"
    await kybern_cluster.wait_for(
        NODES, "simulated-0", lambda node: not node["spec"].get("taints"), patience=30
    )


async def test_leases_are_renewed_and_the_node_stays_ready(kybern_cluster: Cluster) -> None:
    async def renewed_at() -> str:
        lease = await kybern_cluster.client.get(LEASES, "simulated-0", LEASE_NAMESPACE)
        assert lease["spec"]["holderIdentity"] == "simulated-0"
        return str(lease["spec"]["renewTime"])

    first = await renewed_at()
    await advance(120)
    assert await renewed_at() > first
    node = await kybern_cluster.client.get(NODES, "simulated-0")
    assert objects.condition_is(node, "Ready")


async def test_a_pod_is_created_runs_and_becomes_ready_in_its_time(
    kybern_cluster: Cluster,
) -> None:
    start = kybern_cluster.clock.time()
    paces = {"creating-seconds": "5", "ready-seconds": "7"}
    await kybern_cluster.client.create(PODS, annotated("slow", paces))
    await kybern_cluster.wait_for(PODS, "slow", waits_for("ContainerCreating"))
    running = await kybern_cluster.wait_for(PODS, "slow", is_running)
    assert kybern_cluster.clock.time() - start >= 5
    assert not objects.is_pod_ready(running)
    assert objects.status(running)["podIP"].startswith("10.244.")
    ready = await kybern_cluster.wait_for(PODS, "slow", objects.is_pod_ready)
    assert kybern_cluster.clock.time() - start >= 12
    assert first_container(ready)["ready"]


async def test_pods_on_a_node_have_addresses_of_its_network_and_no_two_the_same(
    kybern_cluster: Cluster,
) -> None:
    for number in range(20):
        await kybern_cluster.client.create(PODS, pod(f"p{number}"))
    addresses = []
    for number in range(20):
        running = await kybern_cluster.wait_for(PODS, f"p{number}", is_running)
        addresses.append(objects.status(running)["podIP"])
    assert len(set(addresses)) == 20
    node = await kybern_cluster.client.get(NODES, "simulated-0")
    network = node["spec"]["podCIDR"].rsplit(".", 1)[0] + "."
    assert all(address.startswith(network) for address in addresses)


async def test_a_pod_that_runs_to_its_end_succeeds_or_fails(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, annotated("good", {"run-seconds": "3"}, restartPolicy="Never"))
    bad = annotated("bad", {"run-seconds": "3", "exit-code": "7"}, restartPolicy="Never")
    await client.create(PODS, bad)
    good = await kybern_cluster.wait_for(PODS, "good", objects.is_pod_terminal)
    assert objects.pod_phase(good) == "Succeeded"
    failed = await kybern_cluster.wait_for(PODS, "bad", objects.is_pod_terminal)
    assert objects.pod_phase(failed) == "Failed"
    assert first_container(failed)["state"]["terminated"]["exitCode"] == 7


async def test_a_crashing_pod_restarts_and_backs_off(kybern_cluster: Cluster) -> None:
    crashing = annotated("crash", {"run-seconds": "1", "exit-code": "1"})
    await kybern_cluster.client.create(PODS, crashing)
    await kybern_cluster.wait_for(
        PODS, "crash", lambda p: first_container(p).get("restartCount") == 1
    )
    await kybern_cluster.wait_for(PODS, "crash", waits_for("CrashLoopBackOff"))
    again = await kybern_cluster.wait_for(
        PODS, "crash", lambda p: first_container(p).get("restartCount") == 2, patience=120
    )
    assert "containerStatuses" in objects.status(again)


async def test_a_pod_that_cannot_start_keeps_waiting_for_its_reason(
    kybern_cluster: Cluster,
) -> None:
    stuck = annotated("stuck", {"waiting-reason": "ImagePullBackOff"})
    await kybern_cluster.client.create(PODS, stuck)
    await kybern_cluster.wait_for(PODS, "stuck", waits_for("ImagePullBackOff"))
    await advance(60)
    assert objects.pod_phase(await kybern_cluster.client.get(PODS, "stuck", "default")) == "Pending"


async def test_a_deleted_pod_stops_within_its_grace_period(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    slow = annotated("slow", {"termination-seconds": "20"}, terminationGracePeriodSeconds=10)
    await client.create(PODS, slow)
    await kybern_cluster.wait_for(PODS, "slow", is_running)
    start = kybern_cluster.clock.time()
    await client.delete(PODS, "slow", "default")
    going = await client.get(PODS, "slow", "default")
    assert going["metadata"]["deletionTimestamp"]
    await kybern_cluster.wait_gone(PODS, "slow")
    assert 10 <= kybern_cluster.clock.time() - start < 15
