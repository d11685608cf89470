"""Custom resources take the path of the built-in ones."""

import asyncio
from typing import Any

import pytest
from api_lab import Lab, serving

from kybern.api.errors import Obj, StatusError
from kybern.api.objects import condition_is
from kybern.api.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

NAME = "crontabs.stable.example.com"
CRON_TABS = Resource("stable.example.com", "v1", "crontabs", "CronTab")
PATH = "/apis/stable.example.com/v1/namespaces/default/crontabs"
SPEC_SCHEMA = {
    "type": "object",
    "required": ["cronSpec"],
    "properties": {
        "cronSpec": {"type": "string", "pattern": "^a"},
        "replicas": {"type": "integer", "default": 1, "maximum": 10},
    },
}
STATUS_SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer"}}}


def _definition(plural: str = "crontabs", kind: str = "CronTab", short: str = "ct") -> Obj:
    version: dict[str, Any] = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
            },
        },
        "additionalPrinterColumns": [
            {"name": "Cron", "type": "string", "jsonPath": ".spec.cronSpec"}
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": SPEC_SCHEMA, "status": STATUS_SCHEMA},
            }
        },
    }
    names = {"plural": plural, "kind": kind, "shortNames": [short]}
    spec = {
        "group": "stable.example.com",
        "scope": "Namespaced",
        "names": names,
        "versions": [version],
    }
    return {"metadata": {"name": f"{plural}.stable.example.com"}, "spec": spec}


async def _until(lab: Lab, name: str, condition: str, status: str = "True") -> Obj:
    """Watch a definition until it has a condition."""
    watch = lab.client.watch(
        CUSTOM_RESOURCE_DEFINITIONS,
        field_selector=f"metadata.name={name}",
        send_initial_events=True,
    )
    async with asyncio.timeout(10):
        async for event in watch:
            if event["type"] != "BOOKMARK" and condition_is(event["object"], condition, status):
                found: Obj = event["object"]
                return found
    raise AssertionError("the watch ended")


async def _define(lab: Lab) -> None:
    await lab.client.create(CUSTOM_RESOURCE_DEFINITIONS, _definition())
    await _until(lab, NAME, "Established")


def _object(**spec: object) -> Obj:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": "x"},
        "spec": spec,
    }


async def test_an_established_definition_is_served() -> None:
    async with serving() as lab:
        await _define(lab)
        made = await lab.call("POST", PATH, _object(cronSpec="a", zip=1))
        listed = await lab.client.list(CRON_TABS, "default")
        resources = (await lab.call("GET", "/apis/stable.example.com/v1")).json()["resources"]
        table = await lab.call("GET", PATH, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert made.json()["spec"] == {"cronSpec": "a", "replicas": 1}
    assert made.headers["warning"] == '299 - "unknown field \\"spec.zip\\""'
    assert listed["items"][0]["kind"] == "CronTab"
    assert [r["name"] for r in resources] == ["crontabs", "crontabs/scale", "crontabs/status"]
    assert table.json()["rows"][0]["cells"] == ["x", "a"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({}, "spec.cronSpec", "Required value"),
        (
            {"cronSpec": "b"},
            "spec.cronSpec",
            "Invalid value: \"b\": spec.cronSpec in body should match '^a'",
        ),
        (
            {"cronSpec": 5},
            "spec.cronSpec",
            'Invalid value: "integer": spec.cronSpec in body must be of type string: "integer"',
        ),
        (
            {"cronSpec": "a", "replicas": 11},
            "spec.replicas",
            "Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
    ],
)
async def test_the_schema_is_enforced(spec: Obj, field: str, message: str) -> None:
    async with serving() as lab:
        await _define(lab)
        answer = await lab.call("POST", PATH, _object(**spec))
    assert answer.status == 422
    cause = answer.json()["details"]["causes"][0]
    assert (cause["field"], cause["message"]) == (field, message)


async def test_scale_and_status_of_a_custom_resource() -> None:
    async with serving() as lab:
        await _define(lab)
        await lab.client.create(CRON_TABS, _object(cronSpec="a"), "default")
        patch = {"spec": {"replicas": 3}}
        scaled = await lab.client.patch(CRON_TABS, "x", patch, "default", subresource="scale")
        status = {"status": {"replicas": 2}, "spec": {"cronSpec": "ab"}}
        after = await lab.client.patch(CRON_TABS, "x", status, "default", subresource="status")
        with pytest.raises(StatusError) as refused:
            await lab.client.patch(CRON_TABS, "x", {}, "default", kind="strategic")
    assert scaled["spec"]["replicas"] == 3
    assert after["spec"] == {"cronSpec": "a", "replicas": 3}
    assert after["status"] == {"replicas": 2}
    assert after["metadata"]["generation"] == 2
    assert refused.value.code == 415


async def test_names_belong_to_the_first_definition() -> None:
    async with serving() as lab:
        await _define(lab)
        await lab.client.create(CUSTOM_RESOURCE_DEFINITIONS, _definition("others", "CronTab", "o"))
        rival = await _until(lab, "others.stable.example.com", "NamesAccepted", "False")
        assert not condition_is(rival, "Established")
        await lab.client.delete(CUSTOM_RESOURCE_DEFINITIONS, NAME)
        await _until(lab, "others.stable.example.com", "Established")


async def test_a_default_that_comes_later_shows_in_what_is_stored() -> None:
    async with serving() as lab:
        await _define(lab)
        await lab.client.create(CRON_TABS, _object(cronSpec="a"), "default")
        path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mood"
        added = {"type": "string", "default": "calm"}
        patch = [{"op": "add", "path": path, "value": added}]
        await lab.client.patch(CUSTOM_RESOURCE_DEFINITIONS, NAME, patch, kind="json")
        async with asyncio.timeout(10):
            while "mood" not in (await lab.client.get(CRON_TABS, "x", "default"))["spec"]:
                await asyncio.sleep(0.01)
        listed = await lab.client.list(CRON_TABS, "default")
    assert [item["spec"]["mood"] for item in listed["items"]] == ["calm"]


async def test_a_definition_takes_its_objects_along() -> None:
    async with serving() as lab:
        await _define(lab)
        await lab.client.create(CRON_TABS, _object(cronSpec="a"), "default")
        watch = lab.client.watch(CUSTOM_RESOURCE_DEFINITIONS, send_initial_events=True)
        await lab.client.delete(CUSTOM_RESOURCE_DEFINITIONS, NAME)
        async with asyncio.timeout(10):
            async for event in watch:
                if event["type"] == "DELETED" or (
                    event["type"] == "BOOKMARK"
                    and (await lab.call("GET", CUSTOM_RESOURCE_DEFINITIONS.path(None, NAME))).status
                    == 404
                ):
                    break
        gone = await lab.call("GET", PATH)
        await _define(lab)
        left = await lab.client.list(CRON_TABS, "default")
    assert gone.status == 404
    assert left["items"] == []


async def test_rules_in_the_schema_judge_objects_and_their_changes() -> None:
    async with serving() as lab:
        definition = _definition()
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        fixed = {"rule": "self.cronSpec == oldSelf.cronSpec", "message": "cronSpec is for ever"}
        few = {"rule": "self.replicas < 5", "fieldPath": ".replicas", "message": "too many"}
        schema["properties"]["spec"] = {**SPEC_SCHEMA, "x-kubernetes-validations": [fixed, few]}
        await lab.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        await _until(lab, NAME, "Established")
        made = {"metadata": {"name": "one"}, "spec": {"cronSpec": "a", "replicas": 7}}
        with pytest.raises(StatusError) as refused:
            await lab.client.create(CRON_TABS, made, "default")
        (cause,) = (refused.value.details or {})["causes"]
        assert cause == {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: too many",
            "field": "spec.replicas",
        }
        made["spec"]["replicas"] = 2
        await lab.client.create(CRON_TABS, made, "default")
        with pytest.raises(StatusError, match="cronSpec is for ever"):
            change = {"spec": {"cronSpec": "ab"}}
            await lab.client.patch(CRON_TABS, "one", change, "default")
        await lab.client.patch(CRON_TABS, "one", {"spec": {"replicas": 3}}, "default")


async def test_a_definition_whose_rule_has_no_meaning_is_refused() -> None:
    async with serving() as lab:
        definition = _definition()
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["x-kubernetes-validations"] = [{"rule": "self.spec.nothing > 1"}]
        with pytest.raises(StatusError, match="undefined field 'nothing'"):
            await lab.client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
