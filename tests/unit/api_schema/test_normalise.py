"""The normal form: what upstream's types would write. The expectations are upstream's answers."""

import copy
from typing import Any

import pytest

from kybern.api.schema import TypeSchema, schema_for

SCHEMAS: dict[str, TypeSchema] = {
    "Pod": schema_for("", "v1", "Pod"),
    "Service": schema_for("", "v1", "Service"),
    "Secret": schema_for("", "v1", "Secret"),
    "Deployment": schema_for("apps", "v1", "Deployment"),
    "ClusterRole": schema_for("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    "Event": schema_for("", "v1", "Event"),
}


@pytest.mark.parametrize(
    ("kind", "given_part", "expected"),
    [
        ("Pod", {"metadata": {"annotations": {}, "labels": None, "name": ""}}, {"metadata": {}}),
        ("Pod", {"metadata": {"creationTimestamp": None}}, {"metadata": {}}),
        (
            "Pod",
            {"metadata": {"creationTimestamp": "2020-01-01T02:00:00.9+02:00"}},
            {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}},
        ),
        (
            "Pod",
            {"spec": {"hostNetwork": False, "terminationGracePeriodSeconds": 0}},
            {"spec": {"terminationGracePeriodSeconds": 0, "containers": None}},
        ),
        (
            "Pod",
            {"spec": {"containers": [{"name": "a", "command": []}, None]}},
            {
                "spec": {
                    "containers": [{"name": "a", "resources": {}}, {"name": "", "resources": {}}]
                }
            },
        ),
        (
            "Pod",
            {"spec": {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Mi"}}]}},
            {
                "spec": {
                    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
                    "containers": None,
                }
            },
        ),
        (
            "Pod",
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {
                "status": {
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "True",
                            "lastProbeTime": None,
                            "lastTransitionTime": None,
                        }
                    ]
                }
            },
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 80, "targetPort": "web"}]}},
            {
                "spec": {"ports": [{"port": 80, "targetPort": "web"}]},
                "status": {"loadBalancer": {}},
            },
        ),
        (
            "Service",
            {"spec": {"ports": [{}]}},
            {"spec": {"ports": [{"port": 0, "targetPort": 0}]}},
        ),
        ("Secret", {"data": {"a": "YQ==", "n": None}}, {"data": {"a": "YQ==", "n": ""}}),
        ("Secret", {"data": {"a": "Y\nQ=="}}, {"data": {"a": "YQ=="}}),
        ("ClusterRole", {"rules": []}, {"rules": None}),
        (
            "Deployment",
            {"spec": {"paused": False}},
            {
                "spec": {
                    "strategy": {},
                    "selector": None,
                    "template": {"metadata": {}, "spec": {"containers": None}},
                }
            },
        ),
        ("Event", {}, {"source": {}, "firstTimestamp": None, "eventTime": None}),
    ],
)
def test_normal_form(kind: str, given_part: dict[str, Any], expected: dict[str, Any]) -> None:
    normal = SCHEMAS[kind].normalise(given_part)
    assert {part: normal[part] for part in expected} == expected


def test_int_or_string_and_free_form_values_are_kept() -> None:
    revision = schema_for("apps", "v1", "ControllerRevision")
    data = {"a": [{"b": None, "c": []}], "d": ""}
    normal = revision.normalise({"data": data, "revision": 0})
    assert normal["data"] == data
    assert normal["data"]["a"] is not data["a"]
    assert normal["revision"] == 0


def test_the_result_shares_nothing_with_the_input() -> None:
    pod = {
        "metadata": {"labels": {"a": "b"}, "ownerReferences": [{"name": "x"}]},
        "spec": {"containers": [{"name": "a", "args": ["1"]}], "nodeSelector": {"a": "b"}},
    }
    before = copy.deepcopy(pod)
    normal = SCHEMAS["Pod"].normalise(pod)
    normal["metadata"]["labels"]["x"] = "y"
    normal["metadata"]["ownerReferences"][0]["name"] = "z"
    normal["spec"]["containers"][0]["args"].append("2")
    normal["spec"]["nodeSelector"].clear()
    assert pod == before


def test_every_kind_has_a_normal_form() -> None:
    from kybern.api.kinds import builtin_registry

    registry = builtin_registry()
    for kind in registry.kinds():
        for served in registry.served(kind):
            schema = schema_for(served.group, served.version, kind.kind)
            empty = schema.normalise({})
            assert schema.normalise(empty) == empty
            assert schema.check(empty) == []
