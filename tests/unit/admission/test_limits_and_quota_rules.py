"""LimitRanger's bounds and defaults, and what objects use up of a quota."""

import pytest

from kybern.api import quota
from kybern.api.errors import Obj, StatusError
from kybern.api.pod_resources import pod_limits, pod_requests
from kybern.apiserver.admission.limit_ranger import LimitRanger


def limit_range(**limit: object) -> Obj:
    return {
        "kind": "LimitRange",
        "metadata": {"name": "l", "namespace": "ns"},
        "spec": {"limits": [{"type": "Container", **limit}]},
    }


def pod(requests: Obj | None = None, limits: Obj | None = None, **spec: object) -> Obj:
    resources: Obj = {}
    if requests is not None:
        resources["requests"] = requests
    if limits is not None:
        resources["limits"] = limits
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"containers": [{"name": "c", "resources": resources}], **spec},
    }


def test_defaults_fill_what_is_not_said(known, write, judge) -> None:
    found = limit_range(default={"cpu": "1", "memory": "2Gi"}, defaultRequest={"cpu": "100m"})
    obj = judge(LimitRanger(known(found)), write(pod(limits={"cpu": "2"}), "pods")).object
    assert obj["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m"},
        "limits": {"cpu": "2", "memory": "2Gi"},
    }
    assert obj["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c; memory limit for container c"
    )


@pytest.mark.parametrize(
    ("limit", "judged", "message"),
    [
        ({"max": {"cpu": "1"}}, pod(limits={"cpu": "1001m"}), "is 1, but limit is 1001m"),
        (
            {"max": {"cpu": "1"}},
            pod(requests={"cpu": "500m"}),
            "maximum cpu usage per Container is 1.  No limit is specified",
        ),
        (
            {"min": {"memory": "64Mi"}},
            pod(requests={"memory": "32Mi"}),
            "minimum memory usage per Container is 64Mi, but request is 32Mi",
        ),
        ({"min": {"memory": "64Mi"}}, pod(), "No request is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            pod(requests={"cpu": "100m"}, limits={"cpu": "300m"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        (
            {"type": "Pod", "max": {"memory": "1Gi"}},
            pod(limits={"memory": "2Gi"}),
            "maximum memory usage per Pod is 1Gi, but limit is 2Gi",
        ),
    ],
)
def test_bounds(known, write, judge, limit: Obj, judged: Obj, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        judge(LimitRanger(known(limit_range(**limit))), write(judged, "pods"))
    assert refused.value.message.endswith(message)


def test_what_is_within_the_bounds_passes(known, write, judge) -> None:
    found = limit_range(max={"cpu": "1"}, min={"cpu": "10m"}, maxLimitRequestRatio={"cpu": "4"})
    judge(LimitRanger(known(found)), write(pod({"cpu": "250m"}, {"cpu": "1"}), "pods"))


def test_a_pods_sum_counts_sidecars_and_the_largest_init_container() -> None:
    judged = pod({"cpu": "1"}, {"cpu": "2"}, overhead={"cpu": "100m"})
    judged["spec"]["initContainers"] = [
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
        {"name": "i", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "1"}}},
    ]
    assert str(pod_requests(judged)["cpu"]) == "3600m"
    assert str(pod_limits(judged)["cpu"]) == "2100m"
    assert str(pod_requests(judged, overhead=False)["cpu"]) == "3500m"


def used(group: str, plural: str, obj: Obj) -> dict[str, str]:
    found = quota.usage(group, plural, obj, now=1000.0)
    return {name: str(quantity) for name, quantity in found.items() if quantity}


def test_a_pod_uses_its_requests_and_limits() -> None:
    assert used("", "pods", pod({"cpu": "1", "example.com/gpu": "2"}, {"memory": "1Gi"})) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "1",
        "requests.cpu": "1",
        "requests.example.com/gpu": "2",
        "limits.memory": "1Gi",
    }


@pytest.mark.parametrize(
    "ended",
    [
        {"status": {"phase": "Succeeded"}},
        {
            "metadata": {
                "name": "p",
                "deletionTimestamp": "1970-01-01T00:00:30Z",
                "deletionGracePeriodSeconds": 30,
            }
        },
    ],
)
def test_a_pod_that_has_ended_is_only_counted(ended: Obj) -> None:
    assert used("", "pods", {**pod({"cpu": "1"}), **ended}) == {"count/pods": "1"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "ClusterIP", "ports": [{}]}, {}),
        ({"type": "NodePort", "ports": [{}, {}]}, {"services.nodeports": "2"}),
        (
            {"type": "LoadBalancer", "ports": [{}]},
            {"services.nodeports": "1", "services.loadbalancers": "1"},
        ),
        (
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{}]},
            {"services.loadbalancers": "1"},
        ),
    ],
)
def test_what_services_use(spec: Obj, expected: dict[str, str]) -> None:
    counted = {"count/services": "1", "services": "1"}
    assert used("", "services", {"spec": spec}) == counted | expected


def test_claims_are_charged_to_their_class_too() -> None:
    claim = {
        "metadata": {"name": "c"},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}},
    }
    prefix = "fast.storageclass.storage.k8s.io/"
    assert used("", "persistentvolumeclaims", claim) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "5Gi",
        f"{prefix}requests.storage": "5Gi",
        f"{prefix}persistentvolumeclaims": "1",
    }


def test_other_kinds_are_counted() -> None:
    assert used("apps", "deployments", {}) == {"count/deployments.apps": "1"}
    assert used("", "secrets", {}) == {"count/secrets": "1", "secrets": "1"}


@pytest.mark.parametrize(
    ("scope", "spec", "inside"),
    [
        ({"scopes": ["BestEffort"]}, {}, True),
        ({"scopes": ["NotBestEffort"]}, {}, False),
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 5}, True),
        ({"scopes": ["NotTerminating"]}, {"activeDeadlineSeconds": 5}, False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [
                        {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
                    ]
                }
            },
            {"priorityClassName": "high"},
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [
                        {"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}
                    ]
                }
            },
            {"priorityClassName": "high"},
            False,
        ),
    ],
)
def test_scopes(scope: Obj, spec: Obj, inside: bool) -> None:
    assert quota.selects({"spec": scope}, "pods", pod(**spec)) is inside
