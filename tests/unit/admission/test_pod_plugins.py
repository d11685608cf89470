"""Plugins that complete pods: service account, priority, tolerations, runtime class."""

import pytest

from kybern.api.errors import Obj, StatusError
from kybern.apiserver.admission import UPDATE
from kybern.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kybern.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from kybern.apiserver.admission.priority import Priority
from kybern.apiserver.admission.runtime_class import RuntimeClass
from kybern.apiserver.admission.service_account import ServiceAccount
from kybern.component.clock import Clock


def pod(**spec: object) -> Obj:
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def account(name: str = "default", **fields: object) -> Obj:
    return {"kind": "ServiceAccount", "metadata": {"name": name, "namespace": "ns"}, **fields}


def priority_class(name: str, value: int, **fields: object) -> Obj:
    return {"kind": "PriorityClass", "metadata": {"name": name}, "value": value, **fields}


def namespace(name: str, phase: str = "Active") -> Obj:
    return {"kind": "Namespace", "metadata": {"name": name}, "status": {"phase": phase}}


def test_a_pod_gets_the_default_account_and_its_token(known, write, judge) -> None:
    secrets = [{"name": "pull"}]
    plugin = ServiceAccount(known(account(imagePullSecrets=secrets)), Clock(1))
    spec = judge(plugin, write(pod(), "pods")).object["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    assert spec["imagePullSecrets"] == secrets
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    sources = [next(iter(source)) for source in volume["projected"]["sources"]]
    assert sources == ["serviceAccountToken", "configMap", "downwardAPI"]
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount == {
        "name": volume["name"],
        "readOnly": True,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    }


@pytest.mark.parametrize(
    ("given", "of_account", "mounted"),
    [
        ({}, {"automountServiceAccountToken": False}, False),
        (
            {"automountServiceAccountToken": True},
            {"automountServiceAccountToken": False},
            True,
        ),
        ({"automountServiceAccountToken": False}, {}, False),
    ],
)
def test_the_pod_decides_before_its_account(
    known, write, judge, given: Obj, of_account: Obj, mounted: bool
) -> None:
    plugin = ServiceAccount(known(account(**of_account)), Clock(1))
    spec = judge(plugin, write(pod(**given), "pods")).object["spec"]
    assert ("volumes" in spec) is mounted


def test_a_missing_account_is_named(known, write, judge) -> None:
    with pytest.raises(StatusError) as refused:
        judge(ServiceAccount(known(), Clock(1)), write(pod(serviceAccountName="x"), "pods"))
    assert refused.value.message == (
        'pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found'
    )


def test_secrets_can_be_held_to_the_accounts_list(known, write, judge) -> None:
    strict = account(secrets=[{"name": "ok"}])
    strict["metadata"]["annotations"] = {"kubernetes.io/enforce-mountable-secrets": "true"}
    plugin = ServiceAccount(known(strict), Clock(1))
    judge(plugin, write(pod(volumes=[{"name": "v", "secret": {"secretName": "ok"}}]), "pods"))
    with pytest.raises(StatusError, match=r'volume with secret.secretName="no" is not allowed'):
        judge(plugin, write(pod(volumes=[{"name": "v", "secret": {"secretName": "no"}}]), "pods"))


def test_a_mirror_pod_has_no_account(known, write, judge) -> None:
    mirror = pod(serviceAccountName="default")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    with pytest.raises(StatusError, match="a mirror pod may not reference service accounts"):
        judge(ServiceAccount(known(account()), Clock(1)), write(mirror, "pods"))


@pytest.mark.parametrize(
    ("spec", "classes", "priority", "policy"),
    [
        ({}, [], 0, "PreemptLowerPriority"),
        ({"priorityClassName": "high"}, [priority_class("high", 9)], 9, None),
        (
            {},
            [priority_class("a", 7, globalDefault=True, preemptionPolicy="Never")],
            7,
            "Never",
        ),
        ({"priority": 0}, [], 0, "PreemptLowerPriority"),
    ],
)
def test_priority_is_that_of_the_class(
    known, write, judge, spec: Obj, classes: list[Obj], priority: int, policy: str | None
) -> None:
    found = judge(Priority(known(*classes)), write(pod(**spec), "pods")).object["spec"]
    assert found["priority"] == priority
    assert found.get("preemptionPolicy") == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"priorityClassName": "no"}, "no PriorityClass with name no was found"),
        ({"priority": 3}, "the integer value of priority .3. must not be provided in pod spec"),
    ],
)
def test_priority_cannot_be_made_up(known, write, judge, spec: Obj, message: str) -> None:
    with pytest.raises(StatusError, match=message):
        judge(Priority(known()), write(pod(**spec), "pods"))


def test_there_is_one_default_priority_class(known, write, judge) -> None:
    first = priority_class("first", 1, globalDefault=True)
    second = priority_class("second", 2, globalDefault=True)
    resource = "priorityclasses.scheduling.k8s.io"
    with pytest.raises(StatusError, match="first is already marked as default"):
        judge(Priority(known(first)), write(second, resource))
    judge(Priority(known(first)), write(first, resource, old=first, operation=UPDATE))


def test_tolerations_are_added_once(write, judge) -> None:
    plugin = DefaultTolerationSeconds(10, 20)
    given = [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "operator": "Exists"}]
    spec = judge(plugin, write(pod(tolerations=given), "pods")).object["spec"]
    assert [(t["key"], t.get("tolerationSeconds")) for t in spec["tolerations"]] == [
        ("node.kubernetes.io/not-ready", None),
        ("node.kubernetes.io/unreachable", 20),
    ]
    everything = pod(tolerations=[{"operator": "Exists"}])
    assert len(judge(plugin, write(everything, "pods")).object["spec"]["tolerations"]) == 1


RUNTIME = {
    "kind": "RuntimeClass",
    "metadata": {"name": "gvisor"},
    "handler": "runsc",
    "overhead": {"podFixed": {"cpu": "250m"}},
    "scheduling": {"nodeSelector": {"runtime": "gvisor"}, "tolerations": [{"key": "gvisor"}]},
}


def test_a_runtime_class_brings_overhead_and_placement(known, write, judge) -> None:
    attributes = write(pod(runtimeClassName="gvisor", nodeSelector={"a": "b"}), "pods")
    spec = judge(RuntimeClass(known(RUNTIME)), attributes).object["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"a": "b", "runtime": "gvisor"}
    assert spec["tolerations"] == [{"key": "gvisor"}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"runtimeClassName": "no"}, 'pod rejected: RuntimeClass "no" not found'),
        ({"overhead": {"cpu": "1"}}, "Pod Overhead set without corresponding RuntimeClass"),
        (
            {"runtimeClassName": "gvisor", "overhead": {"cpu": "1"}},
            "Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"runtimeClassName": "gvisor", "nodeSelector": {"runtime": "x"}},
            r"conflict: runtimeClass.scheduling.nodeSelector\[runtime\] = gvisor",
        ),
    ],
)
def test_a_pod_that_contradicts_its_runtime_class(
    known, write, judge, spec: Obj, message: str
) -> None:
    with pytest.raises(StatusError, match=message):
        judge(RuntimeClass(known(RUNTIME)), write(pod(**spec), "pods"))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_are_for_ever(known, write, judge, name: str) -> None:
    attributes = write(None, "namespaces", old=namespace(name), operation="DELETE")
    with pytest.raises(StatusError, match="this namespace may not be deleted"):
        judge(NamespaceLifecycle(known()), attributes)


def test_nothing_is_created_where_there_is_no_namespace(known, write, judge) -> None:
    with pytest.raises(StatusError) as refused:
        judge(NamespaceLifecycle(known()), write(pod(), "pods"))
    assert (refused.value.code, refused.value.message) == (404, 'namespaces "ns" not found')


def test_a_terminating_namespace_takes_updates_only(known, write, judge) -> None:
    plugin = NamespaceLifecycle(known(namespace("ns", "Terminating")))
    judge(plugin, write(pod(), "pods", old=pod(), operation=UPDATE))
    with pytest.raises(StatusError) as refused:
        judge(plugin, write(pod(), "pods"))
    assert refused.value.code == 403
    assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"
