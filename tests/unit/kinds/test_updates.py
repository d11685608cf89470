"""What an update may change, kind by kind, and what it counts up or keeps."""

from collections.abc import Callable
from typing import Any

import pytest
from kind_lifecycle import created, served, updated

from kybern.api.errors import Obj
from kybern.api.objects import copy

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "image": "nginx"}]},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"activeDeadlineSeconds": 100, **TEMPLATE["spec"]},
}
WORKLOAD = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"clusterIP": "10.96.0.5", "type": "NodePort", "ports": [{"port": 80}]},
}


def workload(kind: str, **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": copy({**WORKLOAD, **spec}),
    }


def put(value: Any, *path: Any) -> Callable[[Obj], None]:
    """A change that writes one field, or removes it where the value is None."""

    def change(obj: Obj) -> None:
        held: Any = obj
        for part in path[:-1]:
            held = held[part]
        if value is None:
            held.pop(path[-1], None)
        else:
            held[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (put("nginx:2", "spec", "containers", 0, "image"), None),
        (put(50, "spec", "activeDeadlineSeconds"), None),
        (
            put(200, "spec", "activeDeadlineSeconds"),
            "spec.activeDeadlineSeconds: Invalid value: 200: "
            "must be less than or equal to previous value",
        ),
        (
            put("Never", "spec", "restartPolicy"),
            "spec: Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)",
        ),
        (
            put([{"name": "a", "image": "b"}] * 2, "spec", "containers"),
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
    ],
)
def test_pods_change_in_little_but_their_images(
    change: Callable[[Obj], None], error: str | None
) -> None:
    _, errors = updated(POD, change)
    texts = [str(e).split("\n")[0] for e in errors]
    assert (error in texts) if error else texts == []


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "DaemonSet"])
def test_workloads_keep_their_selector(kind: str) -> None:
    def change(obj: Obj) -> None:
        obj["spec"]["selector"]["matchLabels"] = {"app": "api"}
        obj["spec"]["template"]["metadata"]["labels"] = {"app": "api"}

    _, errors = updated(workload(kind), change)
    assert [e.field for e in errors] == ["spec.selector"]
    assert errors[0].message.endswith("field is immutable")


@pytest.mark.parametrize(
    ("obj", "change", "generation"),
    [
        (workload("Deployment"), put(3, "spec", "replicas"), 2),
        (workload("Deployment"), put({"a": "b"}, "metadata", "annotations"), 2),
        (workload("Deployment"), put({"replicas": 3}, "status"), 1),
        (workload("ReplicaSet"), put({"a": "b"}, "metadata", "annotations"), 1),
        (workload("StatefulSet"), put(3, "spec", "replicas"), 2),
        (POD, put("nginx:2", "spec", "containers", 0, "image"), 2),
        (POD, put({"a": "b"}, "metadata", "labels"), 1),
    ],
)
def test_generation_counts_changes_of_the_wish(
    obj: Obj, change: Callable[[Obj], None], generation: int
) -> None:
    new, _ = updated(obj, change)
    assert new["metadata"]["generation"] == generation


def test_a_main_update_leaves_status_alone_and_a_status_update_the_rest() -> None:
    old, _ = created(workload("ReplicaSet"))
    new = copy(old)
    new["status"]["replicas"] = 7
    strategy = served(old).strategy
    strategy.prepare_for_update(new, old)
    assert new["status"] == {"replicas": 0}
    new["status"] = {"replicas": 7}
    new["spec"]["replicas"] = 9
    strategy.prepare_for_status_update(new, old)
    assert (new["status"], new["spec"]) == ({"replicas": 7}, old["spec"])


def test_statefulsets_refuse_changes_of_other_fields() -> None:
    _, errors = updated(workload("StatefulSet"), put("Parallel", "spec", "podManagementPolicy"))
    assert [e.field for e in errors] == ["spec"]


def test_services_keep_what_was_allocated() -> None:
    def change(obj: Obj) -> None:
        for name in ("clusterIP", "clusterIPs"):
            obj["spec"].pop(name)
        obj["spec"]["ports"] = [{"port": 81}]

    stored = copy(SERVICE)
    stored["spec"]["ports"][0]["nodePort"] = 30123
    new, errors = updated(stored, change)
    assert errors == []
    assert new["spec"]["clusterIPs"] == ["10.96.0.5"]
    assert new["spec"]["ports"][0]["nodePort"] == 30123


def test_services_lose_what_their_new_type_has_no_use_for() -> None:
    def change(obj: Obj) -> None:
        obj["spec"].update(type="ExternalName", externalName="example.com")

    new, errors = updated(SERVICE, change)
    assert errors == []
    assert not {"clusterIP", "clusterIPs", "internalTrafficPolicy"} & new["spec"].keys()


def test_a_service_keeps_its_address() -> None:
    _, errors = updated(SERVICE, put("10.96.0.6", "spec", "clusterIP"))
    assert 'spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set' in [
        str(e) for e in errors
    ]


def test_sealed_config_maps_stay_sealed() -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "immutable": True,
        "data": {"a": "b"},
    }
    _, errors = updated(config, put("c", "data", "a"))
    assert [str(e) for e in errors] == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]


def test_jobs_carry_their_uid_and_keep_their_template() -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", **TEMPLATE["spec"]}}},
    }
    stored, _ = created(job)
    uid = stored["metadata"]["uid"]
    labels = stored["spec"]["template"]["metadata"]["labels"]
    assert labels["batch.kubernetes.io/controller-uid"] == labels["controller-uid"] == uid
    _, errors = updated(job, put("q", "spec", "template", "spec", "containers", 0, "image"))
    assert [e.field for e in errors] == ["spec.template"]
    suspended = copy(job)
    suspended["spec"]["suspend"] = True
    change = put({"disk": "ssd"}, "spec", "template", "spec", "nodeSelector")
    assert updated(suspended, change)[1] == []


def test_metadata_of_the_server_is_fixed() -> None:
    _, errors = updated(POD, put("other", "metadata", "uid"))
    assert {e.field for e in errors} == {"metadata.uid"}


def test_deleting_objects_take_no_new_finalizers() -> None:
    old, _ = created(POD)
    old["metadata"] |= {"resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    new = copy(old)
    new["metadata"]["finalizers"] = ["example.com/late"]
    errors = served(POD).strategy.validate_update(new, old)
    assert 'found new finalizers []string{"example.com/late"}' in errors[0].message


@pytest.mark.parametrize(
    ("node", "phase", "wanted", "grace"),
    [
        ("", "Pending", None, 0),
        ("n", "Running", None, 30),
        ("n", "Running", 5, 5),
        ("n", "Running", -3, 1),
        ("n", "Succeeded", 5, 0),
    ],
)
def test_pods_are_given_time_to_end(node: str, phase: str, wanted: int | None, grace: int) -> None:
    pod = {
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30},
        "status": {"phase": phase},
    }
    grace_period = served(POD).strategy.grace_period
    assert grace_period is not None and grace_period(pod, wanted) == grace
