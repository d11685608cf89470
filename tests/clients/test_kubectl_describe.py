"""``kubectl describe`` of every common kind, ``explain`` and ``events``."""

import re
from typing import Any

import pytest
from kubectl_lab import Kubectl, until
from sample_objects import config_map, deployment, job, pod, service

Obj = dict[str, Any]


def workload(kind: str, name: str, **spec: Any) -> Obj:
    found = {**deployment(name, 1), "kind": kind}
    if kind == "DaemonSet":
        found["spec"].pop("replicas")
    found["spec"] |= spec
    return found


def plain(api_version: str, kind: str, name: str, **body: Any) -> Obj:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **body}


SUBJECT = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
RBAC = "rbac.authorization.k8s.io/v1"
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": BACKEND}
SCALING = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}

# An object, and what its description must say.
DESCRIBED: list[tuple[Obj, list[str]]] = [
    (config_map("settings", {"tier": "front"}, colour="blue"), ["tier=front", "colour:", "blue"]),
    (
        plain("v1", "Secret", "keys", stringData={"password": "secret"}),
        [r"Type: +Opaque", r"password: +6 bytes"],
    ),
    (service("web"), [r"IP: +10\.96\.", r"Port: +http +80/TCP", r"TargetPort: +8080/TCP"]),
    (plain("v1", "ServiceAccount", "robot"), [r"Name: +robot"]),
    (
        plain("v1", "ResourceQuota", "quota", spec={"hard": {"pods": "10"}}),
        [r"pods +0 +10"],
    ),
    (
        plain(
            "v1",
            "LimitRange",
            "limits",
            spec={"limits": [{"type": "Container", "default": {"cpu": "1"}}]},
        ),
        [r"Container +cpu +- +- +1 +1"],
    ),
    (
        plain(
            "v1",
            "PersistentVolumeClaim",
            "disk",
            spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        ),
        [r"Status: +Pending"],
    ),
    (
        workload("StatefulSet", "db", serviceName="db", replicas=0),
        [r"Replicas: +0 desired", r"Image: +app:1"],
    ),
    (workload("DaemonSet", "agent"), [r"Selector: +app=agent", r"Image: +app:1"]),
    (
        plain(
            "batch/v1",
            "CronJob",
            "nightly",
            spec={"schedule": "0 3 * * *", "jobTemplate": {"spec": job("x")["spec"]}},
        ),
        [r"Schedule: +0 3 \* \* \*", r"Concurrency Policy: +Allow"],
    ),
    (
        plain(
            "networking.k8s.io/v1",
            "Ingress",
            "front",
            spec={"rules": [{"host": "example.com", "http": {"paths": [PATH]}}]},
        ),
        [r"example\.com", r"web:80"],
    ),
    (
        plain("networking.k8s.io/v1", "NetworkPolicy", "deny", spec={"podSelector": {}}),
        [r"Policy Types: Ingress"],
    ),
    (plain(RBAC, "Role", "reader", rules=RULES), [r"pods +\[\] +\[\] +\[get\]"]),
    (
        plain(RBAC, "RoleBinding", "readers", roleRef=REF, subjects=[SUBJECT]),
        [r"ServiceAccount +robot +default"],
    ),
    (
        plain(
            "policy/v1",
            "PodDisruptionBudget",
            "budget",
            spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        ),
        [r"Min available: +1"],
    ),
    (
        plain(
            "autoscaling/v1",
            "HorizontalPodAutoscaler",
            "scaler",
            spec={"scaleTargetRef": SCALING, "maxReplicas": 3},
        ),
        [r"Reference: +Deployment/web", r"Max replicas: +3"],
    ),
]
# Debian's kubectl asks for these in versions that Kubernetes 1.25 removed.
GONE_FOR_OLD = {"CronJob", "PodDisruptionBudget"}


@pytest.mark.parametrize(
    ("obj", "patterns"), DESCRIBED, ids=[obj["kind"].lower() for obj, _ in DESCRIBED]
)
def test_describing(kubectl: Kubectl, obj: Obj, patterns: list[str]) -> None:
    kind, name = obj["kind"], obj["metadata"]["name"]
    kubectl.apply(obj)
    done = kubectl("describe", kind.lower(), name)
    if kubectl.is_old and kind in GONE_FOR_OLD:
        assert "the server could not find the requested resource" in done.err
        return
    assert done.code == 0, done.err
    for pattern in [rf"Name: +{name}", *patterns]:
        assert re.search(pattern, done.out), f"{pattern} in {done.out}"


def test_describing_pods_with_their_events(kubectl: Kubectl) -> None:
    kubectl.apply(pod("p"))
    kubectl.ok("wait", "--for=condition=Ready", "pod/p")
    until(lambda: "Started" in kubectl.ok("describe", "pod", "p").out)
    said = kubectl.ok("describe", "pod", "p").out
    for pattern in (
        r"Node: +simulated-\d/",
        r"Status: +Running",
        r"Image: +app:1",
        r"State: +Running",
        r"QoS Class: +BestEffort",
        r"node\.kubernetes\.io/not-ready:NoExecute op=Exists for 300s",
        r"Normal +Scheduled .* Successfully assigned \S+/p to simulated-\d",
    ):
        assert re.search(pattern, said), f"{pattern} in {said}"


def test_describing_deployments(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("web"))
    kubectl.ok("rollout", "status", "deploy/web")
    said = until(lambda: "ScalingReplicaSet" in (d := kubectl.ok("describe", "deploy").out) and d)
    for pattern in (
        r"Replicas: +2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable",
        r"StrategyType: +RollingUpdate",
        r"Available +True +MinimumReplicasAvailable",
        r"NewReplicaSet: +web-\w+ \(2/2 replicas created\)",
        r"Normal +ScalingReplicaSet .* Scaled up replica set web-\w+ (from 0 )?to 2",
    ):
        assert re.search(pattern, said), f"{pattern} in {said}"


def test_describing_what_belongs_to_the_cluster(any_kubectl: Kubectl) -> None:
    said = any_kubectl.ok("describe", "node", "simulated-0").out
    for pattern in (
        r"kubernetes\.io/hostname=simulated-0",
        r"Ready +True",
        r"Capacity:\n",
        r"PodCIDR: +10\.244\.\d+\.0/24",
        r"Allocated resources:",
        r"RenewTime: +\w",
    ):
        assert re.search(pattern, said), f"{pattern} in {said}"
    assert re.search(r"Status: +Active", any_kubectl.ok("describe", "ns", "default").out)
    assert re.search(r"IP: +10\.96\.0\.1\n", any_kubectl.ok("describe", "svc", "kubernetes").out)
    said = any_kubectl.ok("describe", "clusterrole", "view").out
    assert re.search(r"pods +\[\] +\[\] +\[get list watch\]", said)
    assert "system:masters" in any_kubectl.ok("describe", "clusterrolebinding", "cluster-admin").out
    said = any_kubectl.ok("describe", "priorityclass", "system-node-critical").out
    assert re.search(r"Value: +2000001000", said)


def test_explaining(any_kubectl: Kubectl) -> None:
    said = any_kubectl.ok("explain", "pods").out
    assert re.search(r"KIND: +Pod\s", said) and re.search(r"VERSION: +v1\s", said)
    assert "spec" in said
    said = any_kubectl.ok("explain", "deployment.spec.strategy.rollingUpdate").out
    assert "maxSurge" in said and "maxUnavailable" in said
    said = any_kubectl.ok("explain", "pod.spec", "--recursive").out
    assert "topologySpreadConstraints" in said and "readinessProbe" in said
    done = any_kubectl("explain", "pod.spec.unicorn")
    assert done.code == 1 and 'field "unicorn" does not exist' in done.err


def test_explaining_a_version(any_kubectl: Kubectl) -> None:
    said = any_kubectl.ok("explain", "hpa.spec", "--api-version=autoscaling/v1").out
    assert "targetCPUUtilizationPercentage" in said
    said = any_kubectl.ok("explain", "hpa.spec", "--api-version=autoscaling/v2").out
    assert "metrics" in said


def test_events(kubectl: Kubectl) -> None:
    kubectl.apply(pod("p"))
    until(lambda: "Scheduled" in kubectl.ok("get", "events").out)
    header, *rows = kubectl.ok("get", "events", "--field-selector=reason=Scheduled").lines
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [row.split()[3] for row in rows] == ["pod/p"]


def test_the_verb_events(current: Kubectl) -> None:
    current.apply(pod("p"))
    until(lambda: "Scheduled" in current.ok("events", "--for", "pod/p").out)
    assert re.search(r"Normal +Scheduled +Pod/p +Successfully", current.ok("events").out)
