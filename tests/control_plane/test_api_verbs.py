"""What the verbs do to objects."""

import asyncio

import pytest
from api_lab import POD_SPEC, Lab, serving

from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    POD_DISRUPTION_BUDGETS,
    PODS,
)

CM = "/api/v1/namespaces/default/configmaps"
pytestmark = pytest.mark.usefixtures("each_store")

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


async def _pod(lab: Lab, name: str, **spec: object) -> Obj:
    pod = {"metadata": {"name": name, "labels": {"app": name}}, "spec": {**POD_SPEC, **spec}}
    return await lab.client.create(PODS, pod, "default")


async def test_create_fills_in_what_only_the_server_knows() -> None:
    async with serving() as lab:
        answer = await lab.call("POST", CM, {"metadata": {"generateName": "x-", "uid": "mine"}})
    metadata = answer.json()["metadata"]
    assert answer.status == 201
    assert metadata["name"].startswith("x-")
    assert len(metadata["name"]) == len("x-") + 5
    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == "default"


async def test_unknown_fields_are_dropped_with_a_warning() -> None:
    body = b'{"metadata":{"name":"w"},"foo":1,"data":{"a":"1","a":"2"}}'
    async with serving() as lab:
        answer = await lab.call("POST", CM, body)
        silent = await lab.call(
            "POST", f"{CM}?fieldValidation=Ignore", {"foo": 1, "metadata": {"name": "q"}}
        )
    warning = answer.headers["warning"]
    assert warning == '299 - "unknown field \\"foo\\"", 299 - "duplicate field \\"data.a\\""'
    assert answer.json()["data"] == {"a": "2"}
    assert "foo" not in answer.json()
    assert "warning" not in silent.headers


async def test_dry_run_stores_nothing() -> None:
    async with serving() as lab:
        created = await lab.call("POST", f"{CM}?dryRun=All", {"metadata": {"name": "d"}})
        absent = await lab.call("GET", f"{CM}/d")
        await lab.call("POST", CM, {"metadata": {"name": "d"}})
        again = await lab.call("POST", f"{CM}?dryRun=All", {"metadata": {"name": "d"}})
        await lab.call("DELETE", f"{CM}/d?dryRun=All")
        present = await lab.call("GET", f"{CM}/d")
    assert (created.status, absent.status) == (201, 404)
    assert (again.status, present.status) == (409, 200)


async def test_a_change_of_nothing_writes_nothing() -> None:
    async with serving() as lab:
        made = await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        same = await lab.client.update(CONFIG_MAPS, made)
        patched = await lab.client.patch(CONFIG_MAPS, "a", {}, "default")
    assert same == made
    assert patched == made


async def test_concurrent_patches_all_arrive() -> None:
    async with serving() as lab:
        await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        patches = [
            lab.client.patch(CONFIG_MAPS, "a", {"data": {f"k{i}": str(i)}}, "default")
            for i in range(30)
        ]
        await asyncio.gather(*patches)
        merged = await lab.client.get(CONFIG_MAPS, "a", "default")
    assert merged["data"] == {f"k{i}": str(i) for i in range(30)}


async def test_apply_creates_and_then_owns() -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"k": "1"},
    }
    path = f"{CM}/a?fieldManager=m"
    yaml = "application/apply-patch+yaml"
    async with serving() as lab:
        first = await lab.call("PATCH", path, config, yaml)
        second = await lab.call("PATCH", path, config, yaml)
        rival = await lab.call(
            "PATCH", f"{CM}/a?fieldManager=n", {**config, "data": {"k": "2"}}, yaml
        )
        gone = await lab.call("PATCH", path, {**config, "data": {}}, yaml)
    assert (first.status, second.status) == (201, 200)
    assert (
        first.json()["metadata"]["resourceVersion"] == second.json()["metadata"]["resourceVersion"]
    )
    assert rival.status == 409
    assert rival.json()["details"]["causes"][0]["field"] == ".data.k"
    assert "data" not in gone.json()


async def test_status_and_spec_are_written_through_their_own_doors() -> None:
    async with serving() as lab:
        pod = await _pod(lab, "p")
        pod["status"]["phase"] = "Running"
        pod["metadata"]["labels"]["new"] = "label"
        by_main = await lab.client.update(PODS, pod)
        phase_by_main = by_main["status"]["phase"]
        by_main["status"]["phase"] = "Running"
        by_main["spec"]["activeDeadlineSeconds"] = 5
        by_status = await lab.client.update_status(PODS, by_main)
    assert phase_by_main == "Pending"
    assert by_main["metadata"]["labels"]["new"] == "label"
    assert by_status["status"]["phase"] == "Running"
    assert "activeDeadlineSeconds" not in by_status["spec"]


async def test_pods_go_gracefully_once_they_run_somewhere() -> None:
    async with serving() as lab:
        await _pod(lab, "waiting")
        await lab.client.delete(PODS, "waiting", "default")
        await _pod(lab, "running", nodeName="n1")
        marked = await lab.client.delete(PODS, "running", "default")
        longer = await lab.client.delete(PODS, "running", "default", grace_period_seconds=60)
        await lab.client.delete(PODS, "running", "default", grace_period_seconds=0)
        left = await lab.client.list(PODS, "default")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert marked["metadata"]["generation"] == 2
    assert longer["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    assert left["items"] == []


async def test_finalizers_hold_an_object_until_the_last_is_gone() -> None:
    async with serving() as lab:
        made = {"metadata": {"name": "a", "finalizers": ["x.io/y"]}}
        await lab.client.create(CONFIG_MAPS, made, "default")
        held = await lab.client.delete(CONFIG_MAPS, "a", "default")
        assert held["metadata"]["deletionTimestamp"]
        await lab.client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "default")
        with pytest.raises(StatusError, match="not found"):
            await lab.client.get(CONFIG_MAPS, "a", "default")


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Orphan", ["orphan"]), ("Foreground", ["foregroundDeletion"])],
)
async def test_propagation_is_left_to_the_garbage_collector(
    policy: str, finalizers: list[str]
) -> None:
    async with serving() as lab:
        await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        held = await lab.client.delete(CONFIG_MAPS, "a", "default", propagation_policy=policy)
    assert held["metadata"]["finalizers"] == finalizers


async def test_a_namespace_stays_until_it_is_finalized() -> None:
    async with serving() as lab:
        await lab.client.create(NAMESPACES, {"metadata": {"name": "n"}})
        going = await lab.client.delete(NAMESPACES, "n")
        with pytest.raises(StatusError, match="being terminated"):
            await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "n")
        going["spec"]["finalizers"] = []
        await lab.client.update(NAMESPACES, going, subresource="finalize")
        gone = await lab.call("GET", "/api/v1/namespaces/n")
    assert going["status"]["phase"] == "Terminating"
    assert gone.status == 404


async def test_delete_collection_takes_what_the_selector_matches() -> None:
    async with serving() as lab:
        for name in ("a", "b", "c"):
            labels = {"keep": "yes"} if name == "c" else {}
            await lab.client.create(
                CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}}, "default"
            )
        deleted = await lab.client.delete_collection(CONFIG_MAPS, "default", label_selector="!keep")
        left = await lab.client.list(CONFIG_MAPS, "default")
    assert [item["metadata"]["name"] for item in deleted["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in left["items"]] == ["c"]


async def test_lists_are_paged_and_items_bare() -> None:
    async with serving() as lab:
        for name in ("a", "b", "c"):
            await lab.client.create(CONFIG_MAPS, {"metadata": {"name": name}}, "default")
        first = await lab.client.list(CONFIG_MAPS, "default", limit=2)
        rest = await lab.client.list(
            CONFIG_MAPS, "default", limit=2, continue_=first["metadata"]["continue"]
        )
    assert first["metadata"]["remainingItemCount"] == 1
    assert [item["metadata"]["name"] for item in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert "kind" not in first["items"][0]
    assert first["metadata"]["resourceVersion"] == rest["metadata"]["resourceVersion"]


async def test_tables_and_partial_metadata() -> None:
    async with serving() as lab:
        await _pod(lab, "p")
        table = (await lab.call("GET", "/api/v1/pods", accept=TABLE)).json()
        partial = (await lab.call("GET", "/api/v1/pods", accept=PARTIAL)).json()
        bad = await lab.call("GET", "/api/v1/pods?includeObject=x", accept=TABLE)
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][0] == "p"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in partial["items"][0]
    assert bad.status == 400


async def test_watch_tells_of_every_change_in_order() -> None:
    async with serving() as lab:
        version = (await lab.client.list(CONFIG_MAPS))["metadata"]["resourceVersion"]
        await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        await lab.client.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, "default")
        await lab.client.delete(CONFIG_MAPS, "a", "default")
        seen = []
        async for event in lab.client.watch(CONFIG_MAPS, resource_version=version):
            seen.append(event["type"])
            if len(seen) == 3:
                break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_watch_list_ends_its_initial_events_with_a_bookmark() -> None:
    async with serving() as lab:
        await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        async for event in lab.client.watch(CONFIG_MAPS, send_initial_events=True):
            if event["type"] == "BOOKMARK":
                break
    annotations = event["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_binding_happens_once() -> None:
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    async with serving() as lab:
        await _pod(lab, "p")
        await lab.client.create(PODS, binding, "default", name="p", subresource="binding")
        pod = await lab.client.get(PODS, "p", "default")
        with pytest.raises(StatusError) as refused:
            await lab.client.create(PODS, binding, "default", name="p", subresource="binding")
    assert pod["spec"]["nodeName"] == "n1"
    assert [c["type"] for c in pod["status"]["conditions"]] == ["PodScheduled"]
    assert refused.value.code == 409
    assert 'pod p is already assigned to node "n1"' in refused.value.message


async def test_eviction_asks_the_disruption_budget() -> None:
    async with serving() as lab:
        pod = await _pod(lab, "p", nodeName="n1")
        pod["status"] |= {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await lab.client.update_status(PODS, pod)
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "p"}}}
        budget = await lab.client.create(
            POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": spec}, "default"
        )
        counts = {"observedGeneration": 1, "desiredHealthy": 1, "currentHealthy": 1}
        budget["status"] |= counts
        budget = await lab.client.update_status(POD_DISRUPTION_BUDGETS, budget)
        path = "/api/v1/namespaces/default/pods/p/eviction"
        refused = await lab.call("POST", path, {"metadata": {"name": "p"}})
        budget["status"]["disruptionsAllowed"] = 1
        await lab.client.update_status(POD_DISRUPTION_BUDGETS, budget)
        allowed = await lab.call("POST", path, {"metadata": {"name": "p"}})
        after = await lab.client.get(POD_DISRUPTION_BUDGETS, "b", "default")
        evicted = await lab.client.get(PODS, "p", "default")
    assert refused.status == 429
    cause = refused.json()["details"]["causes"][0]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget b needs 1 healthy pods and has 1 currently"
    assert allowed.status == 201
    assert after["status"]["disruptionsAllowed"] == 0
    assert "p" in after["status"]["disruptedPods"]
    assert evicted["metadata"]["deletionTimestamp"]


async def test_scale_changes_the_replicas_and_the_generation() -> None:
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": POD_SPEC}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    async with serving() as lab:
        await lab.client.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec}, "default")
        scale = await lab.client.get(DEPLOYMENTS, "d", "default", subresource="scale")
        scale["spec"]["replicas"] = 5
        await lab.client.update(DEPLOYMENTS, scale, subresource="scale")
        stale = await lab.call("PUT", "/apis/apps/v1/namespaces/default/deployments/d/scale", scale)
        deployment = await lab.client.get(DEPLOYMENTS, "d", "default")
    assert scale["status"]["selector"] == "app=d"
    assert stale.status == 409
    assert deployment["spec"]["replicas"] == 5
    assert deployment["metadata"]["generation"] == 2


async def test_discovery_is_complete_and_stable() -> None:
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    async with serving() as lab:
        groups = (await lab.call("GET", "/apis")).json()["groups"]
        apps = (await lab.call("GET", "/apis/apps/v1")).json()
        first = await lab.call("GET", "/apis", accept=aggregated)
        second = await lab.call("GET", "/apis", accept=aggregated)
    names = {resource["name"] for resource in apps["resources"]}
    assert {"deployments", "deployments/scale", "deployments/status"} <= names
    assert first.headers["content-type"] == aggregated
    assert first.headers["etag"] == second.headers["etag"]
    assert [item["metadata"]["name"] for item in first.json()["items"]] == [
        group["name"] for group in groups
    ]


async def test_openapi_documents_are_where_the_index_says() -> None:
    async with serving() as lab:
        index = (await lab.call("GET", "/openapi/v3")).json()["paths"]
        document = await lab.call("GET", index["apis/batch/v1"]["serverRelativeURL"])
    assert document.status == 200
    assert "io.k8s.api.batch.v1.Job" in document.json()["components"]["schemas"]


async def test_streams_need_a_node_that_answers() -> None:
    pods = "/api/v1/namespaces/default/pods"
    async with serving() as lab:
        await _pod(lab, "p")
        unassigned = await lab.call("GET", f"{pods}/p/log")
        exec_ = await lab.call("POST", f"{pods}/p/exec?command=ls")
        none = await lab.call("POST", f"{pods}/p/exec")
        wrong = await lab.call("GET", f"{pods}/p/log?container=x")
    assert (unassigned.status, unassigned.body) == (200, b"")
    assert exec_.json()["message"] == "pod p does not have a host assigned"
    assert none.status == 400
    assert wrong.json()["message"] == "container x is not valid for pod p"
