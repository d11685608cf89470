"""Answers in protobuf: the same objects, lists, watches and errors as in JSON."""

import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from api_lab import POD_SPEC, Lab, serving

from kybern.api import protobuf
from kybern.api.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, PODS
from kybern.api.user import ADMIN
from kybern.apiserver.cache import feed
from kybern.component.http.messages import Request

PROTOBUF = protobuf.MEDIA_TYPE
PREFERRED = f"{PROTOBUF},application/json"
PODS_PATH = "/api/v1/namespaces/default/pods"
MAPS_PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with serving() as found:
        await found.client.create(PODS, {"metadata": {"name": "p"}, "spec": POD_SPEC}, "default")
        yield found


async def asked(lab: Lab, path: str, accept: str = PREFERRED) -> Any:
    """A document that came in protobuf."""
    answer = await lab.call("GET", path, accept=accept)
    assert answer.headers["content-type"] == PROTOBUF
    return protobuf.decode(answer.body)


async def in_json(lab: Lab, path: str) -> Any:
    return (await lab.call("GET", path)).json()


async def frames(lab: Lab, path: str, count: int) -> list[Any]:
    """The first events of a watch in protobuf, each as its type and its object."""
    headers = {"accept": f"{PROTOBUF};stream=watch", "user-agent": "lab/1"}
    bare, _, query = path.partition("?")
    request = Request("GET", bare, f"watch=1&{query}", headers, user=ADMIN)
    answer = await lab.server.handler(request)
    assert answer.headers["Content-Type"] == f"{PROTOBUF};stream=watch"
    assert isinstance(answer.body, AsyncIterator)
    found: list[Any] = []
    async for chunk in answer.body:
        found += [event_of(event) for event in protobuf.watch_events(chunk)]
        if len(found) >= count:
            break
    await answer.body.aclose()  # type: ignore[attr-defined]
    return found


def event_of(event: bytes) -> tuple[str, Any]:
    """Read ``type`` (field 1) and ``object.raw`` (field 2.1) of a WatchEvent by hand."""
    assert event[0] == 0x0A
    end = 2 + event[1]
    at = event.index(b"k8s\x00")
    return event[2:end].decode(), protobuf.decode(event[at:])


async def test_an_object_is_the_same_as_in_json(lab: Lab) -> None:
    shown = await in_json(lab, f"{PODS_PATH}/p")
    assert await asked(lab, f"{PODS_PATH}/p") == shown
    assert await asked(lab, f"{PODS_PATH}/p") == shown


async def test_a_list_is_the_same_as_in_json(lab: Lab) -> None:
    shown = await in_json(lab, PODS_PATH)
    listed = await asked(lab, PODS_PATH)
    assert listed == shown
    assert len(listed["items"]) == 1


async def test_an_answer_follows_the_version_that_was_asked_for(lab: Lab) -> None:
    scaler = {
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
            "targetCPUUtilizationPercentage": 50,
        },
    }
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    assert (await lab.call("POST", path.format("v1"), scaler)).status == 201
    for version in ("v1", "v2"):
        found = await asked(lab, f"{path.format(version)}/h")
        shown = await in_json(lab, f"{path.format(version)}/h")
        # JSON shows null where there is no list yet; protobuf has nothing.
        shown["status"].pop("currentMetrics", None)
        assert found == shown
        assert found["apiVersion"] == f"autoscaling/{version}"


async def test_what_is_created_in_protobuf_comes_back_in_it(lab: Lab) -> None:
    body = protobuf.encode(
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"a": ""}}
    )
    answer = await lab.call("POST", MAPS_PATH, body, content_type=PROTOBUF, accept=PROTOBUF)
    assert answer.status == 201
    assert protobuf.decode(answer.body) == await in_json(lab, f"{MAPS_PATH}/c")
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}
    gone = await lab.call("DELETE", f"{MAPS_PATH}/c", protobuf.encode(options), PROTOBUF, PROTOBUF)
    assert protobuf.decode(gone.body)["status"] == "Success"
    assert (await in_json(lab, f"{MAPS_PATH}/c"))["metadata"]["name"] == "c"


async def test_a_patch_is_answered_in_protobuf(lab: Lab) -> None:
    answer = await lab.call(
        "PATCH",
        f"{PODS_PATH}/p",
        {"metadata": {"labels": {"a": "b"}}},
        "application/merge-patch+json",
        PREFERRED,
    )
    assert protobuf.decode(answer.body)["metadata"]["labels"] == {"a": "b"}


async def test_a_watch_has_frames_of_events(lab: Lab) -> None:
    pod = await in_json(lab, f"{PODS_PATH}/p")
    version = pod["metadata"]["resourceVersion"]
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = await frames(lab, f"{PODS_PATH}?{query}&resourceVersion={version}", 2)
    assert events[0] == ("ADDED", pod)
    type_, bookmark = events[1]
    assert type_ == "BOOKMARK"
    assert bookmark["kind"] == "Pod"
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_of_metadata(lab: Lab) -> None:
    headers = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    request = Request(
        "GET", PODS_PATH, "watch=1", {"accept": headers, "user-agent": "lab/1"}, user=ADMIN
    )
    answer = await lab.server.handler(request)
    assert isinstance(answer.body, AsyncIterator)
    chunk = await anext(answer.body)
    await answer.body.aclose()  # type: ignore[attr-defined]
    assert struct.unpack(">I", chunk[:4])[0] == len(chunk) - 4
    _, partial = event_of(chunk[4:])
    assert (partial["kind"], partial["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert partial["metadata"]["name"] == "p"


async def test_a_watch_that_fails_says_so_in_protobuf(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REACH_SECONDS", 0.01)
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1000000"
    events = await frames(lab, f"{PODS_PATH}?{query}", 1)
    assert events[0][0] == "ERROR"
    assert events[0][1]["kind"] == "Status"
    assert events[0][1]["code"] == 504


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_partial_metadata(lab: Lab, version: str) -> None:
    form = f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v={version}"
    listed = await asked(lab, PODS_PATH, form)
    assert listed["apiVersion"] == f"meta.k8s.io/{version}"
    assert [item["metadata"]["name"] for item in listed["items"]] == ["p"]


async def test_errors_come_in_what_the_client_takes(lab: Lab) -> None:
    status = await asked(lab, f"{PODS_PATH}/missing")
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 404, "NotFound")
    assert status == await in_json(lab, f"{PODS_PATH}/missing")
    as_table = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    readable = await lab.call("GET", f"{PODS_PATH}/missing", accept=as_table)
    assert readable.headers["content-type"] == "application/json"
    assert readable.json()["code"] == 404


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (f"{PROTOBUF},application/json", PROTOBUF),
        (f"application/json,{PROTOBUF}", "application/json"),
        (f"{PROTOBUF};q=0.4,application/json;q=0.5", "application/json"),
        (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json", "application/json"),
        ("*/*", "application/json"),
    ],
)
async def test_the_first_form_that_fits_is_taken(lab: Lab, accept: str, media_type: str) -> None:
    answer = await lab.call("GET", f"{PODS_PATH}/p", accept=accept)
    assert answer.status == 200
    assert answer.headers["content-type"] == media_type


async def test_tables_have_no_protobuf_form(lab: Lab) -> None:
    table = f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1"
    answer = await lab.call("GET", f"{PODS_PATH}/p", accept=table)
    assert answer.status == 406
    assert answer.json()["message"] == (
        "only the following media types are accepted: "
        f"application/json, application/yaml, {PROTOBUF}"
    )


async def test_watches_have_no_yaml_form(lab: Lab) -> None:
    answer = await lab.call("GET", f"{PODS_PATH}?watch=1", accept="application/yaml")
    assert answer.status == 406
    assert f"application/json;stream=watch, {PROTOBUF};stream=watch" in answer.body.decode()


async def test_custom_resources_answer_in_json(lab: Lab) -> None:
    names = {"plural": "things", "kind": "Thing"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]}
    crd = {"metadata": {"name": "things.example.com"}, "spec": spec}
    await lab.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
    path = "/apis/example.com/v1/namespaces/default/things"
    async for event in lab.client.watch(CUSTOM_RESOURCE_DEFINITIONS):
        conditions = event["object"].get("status", {}).get("conditions", [])
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            break
    answer = await lab.call("GET", path, accept=PREFERRED)
    assert answer.headers["content-type"] == "application/json"
    assert (await lab.call("GET", path, accept=PROTOBUF)).status == 406
    partial = f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    assert (await asked(lab, path, partial))["kind"] == "PartialObjectMetadataList"


async def test_subresources_and_reviews(lab: Lab) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await lab.call("POST", path, review, accept=PREFERRED)
    assert protobuf.decode(answer.body)["status"]["allowed"] is True


async def test_events_are_selected_by_the_names_of_each_version(lab: Lab) -> None:
    await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "c"}}, "default")
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "ConfigMap", "name": "c", "namespace": "default"},
        "reason": "Because",
    }
    created = await lab.call("POST", "/api/v1/namespaces/default/events", event)
    assert created.status == 201
    core, events = "/api/v1/events", "/apis/events.k8s.io/v1/events"
    for path in (
        f"{core}?fieldSelector=involvedObject.kind=ConfigMap",
        f"{events}?fieldSelector=regarding.kind=ConfigMap",
    ):
        assert len((await in_json(lab, path))["items"]) == 1
        assert (await in_json(lab, path.replace("=ConfigMap", "=Pod")))["items"] == []
    for path in (
        f"{core}?fieldSelector=regarding.kind=ConfigMap",
        f"{events}?fieldSelector=involvedObject.kind=ConfigMap",
    ):
        answer = await lab.call("GET", path)
        assert answer.status == 400
        assert answer.json()["message"].startswith("field label not supported: ")


async def test_paths_outside_the_resources(lab: Lab) -> None:
    paths = (await in_json(lab, "/"))["paths"]
    assert {"/api", "/api/v1", "/apis/", "/apis/apps/v1", "/healthz/ping", "/version"} <= set(paths)
    assert paths == sorted(paths)
    for method, path, status in (
        ("GET", "/nope", 404),
        ("GET", "/nope/", 404),
        ("DELETE", "/api", 405),
        ("POST", "/apis/apps/v1", 405),
        ("POST", "/version", 405),
        ("GET", "/openapi/v3/nope", 404),
    ):
        assert (await lab.call(method, path)).status == status, path
