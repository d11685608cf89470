"""PodExplanation: why a pod is where it is, or nowhere, through the API."""

import asyncio
from typing import Any

import pytest
from manifests import pod

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    NODES,
    POD_EXPLANATIONS,
    PODS,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
)
from kybern.api.user import UserInfo
from kybern.scheduler.explain import explainer, publisher, verdicts
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

Obj = dict[str, Any]


def sized(name: str, cpu: str, **spec: Any) -> Obj:
    container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}
    return pod(name, containers=[container], **spec)


def is_running(obj: Obj) -> bool:
    return objects.pod_phase(obj) == "Running"


async def explained(cluster: Cluster, name: str, state: str) -> Obj:
    found = await cluster.wait_for(
        POD_EXPLANATIONS, name, lambda one: (one.get("status") or {}).get("state") == state
    )
    status: Obj = found["status"]
    return status


@pytest.mark.kybern(nodes=3)
async def test_a_pod_that_fits_nowhere_is_explained_unasked(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.patch(NODES, "simulated-2", {"spec": {"unschedulable": True}})
    for number in range(2):
        await client.create(PODS, sized(f"full-{number}", "7"))
        await kybern_cluster.wait_for(PODS, f"full-{number}", is_running)
    await client.create(PODS, sized("late", "1200m"))

    async def stored() -> bool:
        return bool((await client.list(POD_EXPLANATIONS, "default"))["items"])

    await kybern_cluster.wait_until(stored)
    status = await explained(kybern_cluster, "late", "Unschedulable")
    assert status["message"].startswith("0/3 nodes are available")
    assert [(one["plugin"], one["nodes"]) for one in status["rejections"]] == [
        ("NodeUnschedulable", 1),
        ("NodeResourcesFit", 2),
    ]
    nearest = status["closest"][0]
    assert nearest["lacks"] == [
        {"resource": "cpu", "requested": "1200m", "free": "1", "lacking": "200m"}
    ]
    assert status["summary"] == f"no node of 3 fits; {nearest['node']} lacks 200m cpu"
    assert f"Free 200m CPU on {nearest['node']}, or add a node." in status["advice"]
    assert "Open a node again: kubectl uncordon simulated-2" in status["advice"]

    await client.patch(NODES, "simulated-2", {"spec": {"unschedulable": None}})
    await kybern_cluster.wait_for(PODS, "late", is_running)
    placed = await explained(kybern_cluster, "late", "Scheduled")
    assert placed["node"] == "simulated-2"
    assert placed["lastFailure"]["message"].startswith("0/3 nodes are available")


@pytest.mark.kybern(nodes=3)
async def test_reading_the_explanation_of_a_running_pod_asks_for_its_scores(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await client.create(PODS, sized("web", "2"))
    bound = await kybern_cluster.wait_for(PODS, "web", is_running)
    assert (await client.list(POD_EXPLANATIONS, "default"))["items"] == []
    status = (await client.get(POD_EXPLANATIONS, "web", "default"))["status"]
    assert status["state"] == "Scheduled"
    assert status["node"] == bound["spec"]["nodeName"]
    assert "recomputed" not in status
    chosen, *others = status["candidates"]
    assert chosen["node"] == status["node"] and len(others) == 2
    for candidate in status["candidates"]:
        scores = candidate["scores"]
        assert candidate["total"] == sum(one["weighted"] for one in scores)
        assert all(one["weighted"] == one["normalized"] * one["weight"] for one in scores)
    assert {"NodeResourcesFit", "TaintToleration"} <= {s["plugin"] for s in chosen["scores"]}


async def test_the_explanation_goes_with_its_pod(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, sized("brief", "1"))
    await kybern_cluster.wait_for(PODS, "brief", is_running)
    await client.get(POD_EXPLANATIONS, "brief", "default")
    await client.delete(PODS, "brief", "default")
    await kybern_cluster.wait_gone(POD_EXPLANATIONS, "brief")


async def test_gates_and_waiting_preemptors_are_explained(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("gated", schedulingGates=[{"name": "example.com/quota"}]))
    status = await explained(kybern_cluster, "gated", "Gated")
    assert status["advice"] == [
        "Whoever set the gate example.com/quota has to take it off the pod."
    ]
    await client.create(PRIORITY_CLASSES, {"metadata": {"name": "vital"}, "value": 1000})
    lesser = sized("lesser", "6", terminationGracePeriodSeconds=600)
    lesser["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(PODS, lesser)
    await kybern_cluster.wait_for(PODS, "lesser", is_running)
    await client.create(PODS, sized("vital", "6", priorityClassName="vital"))
    status = await explained(kybern_cluster, "vital", "Preempting")
    assert status["nominatedNode"] == "simulated-0"
    await client.patch(PODS, "lesser", {"metadata": {"finalizers": None}}, "default")
    await kybern_cluster.wait_for(PODS, "vital", is_running)
    status = await explained(kybern_cluster, "vital", "Scheduled")
    assert status["summary"] == "simulated-0 was nominated for it, so it was tried there first"


async def test_nobody_answers_for_missing_pods_and_other_schedulers(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await client.create(PODS, pod("foreign", schedulerName="other"))
    for name in ("foreign", "missing"):
        with pytest.raises(StatusError) as caught:
            await client.get(POD_EXPLANATIONS, name, "default")
        assert caught.value.code == 404
    assert (await client.list(POD_EXPLANATIONS, "default"))["items"] == []


async def test_viewers_of_a_namespace_may_read_explanations_and_not_write_them(
    kybern_cluster: Cluster,
) -> None:
    viewer = UserInfo("vera", ("system:authenticated",))
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "view", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "vera", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await kybern_cluster.client.create(ROLE_BINDINGS, binding)
    await kybern_cluster.client.create(PODS, sized("web", "2"))
    await kybern_cluster.wait_for(PODS, "web", is_running)
    client = kybern_cluster.client_as(viewer)

    async def may_read() -> bool:
        try:
            found = await client.get(POD_EXPLANATIONS, "web", "default")
        except StatusError as error:
            assert error.code == 403
            return False
        return bool(found["status"])

    await kybern_cluster.wait_until(may_read)
    with pytest.raises(StatusError) as caught:
        await client.delete(POD_EXPLANATIONS, "web", "default")
    assert caught.value.code == 403


@pytest.mark.kybern(nodes=2)
async def test_many_readers_at_once_get_the_same_answer(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, sized("web", "2"))
    await kybern_cluster.wait_for(PODS, "web", is_running)
    answers = await asyncio.gather(
        *(client.get(POD_EXPLANATIONS, "web", "default") for _ in range(20))
    )
    assert all(one["status"] == answers[0]["status"] for one in answers)


@pytest.mark.kybern(nodes=1)
async def test_explanations_do_not_pile_up(
    kybern_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MOST", 3)
    client = kybern_cluster.client
    for number in range(6):
        await client.create(PODS, sized(f"web-{number}", "100m"))
        await kybern_cluster.wait_for(PODS, f"web-{number}", is_running)
        assert (await client.get(POD_EXPLANATIONS, f"web-{number}", "default"))["status"]

    async def trimmed() -> bool:
        found, _ = await client.list_all(POD_EXPLANATIONS, "default")
        return {objects.name(one) for one in found} == {"web-3", "web-4", "web-5"}

    await kybern_cluster.wait_until(trimmed)


async def test_nobody_else_takes_the_name_of_the_kind(kybern_cluster: Cluster) -> None:
    names = {"plural": "podexplanations", "kind": "PodExplanation", "singular": "podexplanation"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {
        "group": "explain.kybern.io",
        "scope": "Namespaced",
        "names": names,
        "versions": [version],
    }
    client = kybern_cluster.client
    meta = {"name": "podexplanations.explain.kybern.io"}
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": meta, "spec": spec})
    refused = await kybern_cluster.wait_for(
        CUSTOM_RESOURCE_DEFINITIONS,
        meta["name"],
        lambda one: objects.condition_is(one, "NamesAccepted", "False"),
        namespace="",
    )
    condition = objects.condition(refused, "NamesAccepted")
    assert condition is not None and condition["message"].endswith("is already in use")
    await client.list(POD_EXPLANATIONS, "default")


async def test_a_defect_in_an_explanation_does_not_stop_scheduling(
    kybern_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(verdicts, "rank", broken)
    monkeypatch.setattr(explainer, "turned_down", broken)
    client = kybern_cluster.client
    await client.create(PODS, sized("huge", "6400"))
    await kybern_cluster.wait_for(
        PODS, "huge", lambda one: objects.condition_is(one, "PodScheduled", "False")
    )
    with pytest.raises(StatusError):
        await client.get(POD_EXPLANATIONS, "huge", "default")
    await client.create(PODS, sized("web", "1"))
    await kybern_cluster.wait_for(PODS, "web", is_running)
    assert (await client.get(POD_EXPLANATIONS, "web", "default"))["status"]["recomputed"]
