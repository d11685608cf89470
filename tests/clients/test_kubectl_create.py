"""``kubectl create`` of each kind that has a form of its own, and ``run``; typed objects go out in
protobuf from kubectls that prefer it."""

import base64
import json
from pathlib import Path

import pytest
from kubectl_lab import Kubectl

# The words after "create", what kubectl says, and a path with its value.
CREATED: list[tuple[str, str, str, str]] = [
    ("configmap a --from-literal=k=v", "configmap/a created", "{.data.k}", "v"),
    (
        "secret generic a --from-literal=k=v",
        "secret/a created",
        "{.data.k}",
        base64.b64encode(b"v").decode(),
    ),
    (
        "secret docker-registry a --docker-server=s --docker-username=u --docker-password=p",
        "secret/a created",
        "{.type}",
        "kubernetes.io/dockerconfigjson",
    ),
    (
        "deployment a --image=app:1 --replicas=2",
        "deployment.apps/a created",
        "{.spec.replicas} {.spec.template.spec.containers[0].image}",
        "2 app:1",
    ),
    (
        "job a --image=app:1 -- true x",
        "job.batch/a created",
        "{.spec.template.spec.containers[0].command}",
        '["true","x"]',
    ),
    (
        "service clusterip a --tcp=80:8080",
        "service/a created",
        "{.spec.ports[0].targetPort}",
        "8080",
    ),
    ("service nodeport a --tcp=80", "service/a created", "{.spec.type}", "NodePort"),
    (
        "service externalname a --external-name=x.example.com",
        "service/a created",
        "{.spec.externalName}",
        "x.example.com",
    ),
    ("serviceaccount a", "serviceaccount/a created", "{.metadata.name}", "a"),
    (
        "role a --verb=get,list --resource=pods",
        "role.rbac.authorization.k8s.io/a created",
        "{.rules[0].verbs}",
        '["get","list"]',
    ),
    (
        "rolebinding a --clusterrole=view --user=ann",
        "rolebinding.rbac.authorization.k8s.io/a created",
        "{.subjects[0].name} {.roleRef.name}",
        "ann view",
    ),
    ("quota a --hard=pods=3", "resourcequota/a created", "{.spec.hard.pods}", "3"),
]
# Debian's kubectl makes these in versions that Kubernetes 1.22 and 1.25 removed.
CREATED_BY_CURRENT: list[tuple[str, str, str, str]] = [
    (
        "cronjob a --image=app:1 --schedule=@daily",
        "cronjob.batch/a created",
        "{.spec.schedule}",
        "@daily",
    ),
    (
        "ingress a --rule=example.com/=web:80",
        "ingress.networking.k8s.io/a created",
        "{.spec.rules[0].host}",
        "example.com",
    ),
    (
        "poddisruptionbudget a --selector=app=web --min-available=1",
        "poddisruptionbudget.policy/a created",
        "{.spec.minAvailable}",
        "1",
    ),
]


def named(rows: list[tuple[str, str, str, str]]) -> list[str]:
    return [row[0].partition(" a")[0].replace(" ", "-") for row in rows]


def check(kubectl: Kubectl, words: str, said: str, path: str, value: str) -> None:
    assert kubectl.ok("create", *words.split()).out == said + "\n"
    assert kubectl.value(path, said.split()[0]) == value
    again = kubectl("create", *words.split())
    assert again.code == 1 and "already exists" in again.err


@pytest.mark.parametrize(("words", "said", "path", "value"), CREATED, ids=named(CREATED))
def test_creating(kubectl: Kubectl, words: str, said: str, path: str, value: str) -> None:
    check(kubectl, words, said, path, value)


@pytest.mark.parametrize(
    ("words", "said", "path", "value"), CREATED_BY_CURRENT, ids=named(CREATED_BY_CURRENT)
)
def test_creating_by_current(
    current: Kubectl, words: str, said: str, path: str, value: str
) -> None:
    check(current, words, said, path, value)


def test_creating_what_belongs_to_the_cluster(any_kubectl: Kubectl) -> None:
    name = f"created-{any_kubectl.version[1]}"
    created = (
        (f"namespace {name}", f"namespace/{name}"),
        (
            f"clusterrole {name} --verb=get --non-resource-url=/healthz",
            f"clusterrole.rbac.authorization.k8s.io/{name}",
        ),
        (
            f"clusterrolebinding {name} --clusterrole={name} --group=people",
            f"clusterrolebinding.rbac.authorization.k8s.io/{name}",
        ),
        (f"priorityclass {name} --value=5", f"priorityclass.scheduling.k8s.io/{name}"),
    )
    for words, typed in created:
        assert any_kubectl.ok("create", *words.split()).out == f"{typed} created\n"
    for _, typed in created:
        any_kubectl.ok("delete", typed)


def test_creating_from_files(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello\n")
    (tmp_path / "blob").write_bytes(b"\xff\x00")
    kubectl.ok("create", "configmap", "files", f"--from-file={tmp_path}")
    found = kubectl.ok("get", "cm", "files", "-o", "json").json()
    assert found["data"] == {"note": "hello\n"}
    assert found["binaryData"] == {"blob": base64.b64encode(b"\xff\x00").decode()}


def test_creating_a_job_from_a_cron_job(current: Kubectl) -> None:
    current.ok("create", "cronjob", "daily", "--image=app:1", "--schedule=@daily")
    current.ok("create", "job", "now", "--from=cronjob/daily")
    current.ok("wait", "--for=condition=Complete", "job/now", "--timeout=20s")
    assert current.value("{.metadata.ownerReferences[0].name}", "job", "now") == "daily"


def test_running_a_pod(kubectl: Kubectl) -> None:
    done = kubectl.ok("run", "p", "--image=app:1", "--labels=a=b", "--env=X=1", "--port=80")
    assert done.out == "pod/p created\n"
    kubectl.ok("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    assert kubectl.value("{.metadata.labels.a} {.spec.containers[0].env[0].value}", "pod", "p") == (
        "b 1"
    )


def test_generated_names_and_creating_from_standard_input(kubectl: Kubectl) -> None:
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"some-"}}'
    done = kubectl.ok("create", "-f", "-", "-o", "name", stdin=text)
    assert done.out.startswith("configmap/some-") and len(done.out.strip()) == len(
        "configmap/some-12345"
    )


def test_tokens(current: Kubectl) -> None:
    current.ok("create", "serviceaccount", "robot")
    token = current.ok("create", "token", "robot", "--duration=10m").out.strip()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    text = json.dumps({**review, "spec": {"token": token}})
    status = current.ok("create", "-f", "-", "-o", "json", stdin=text).json()["status"]
    assert status["authenticated"]
    assert status["user"]["username"] == f"system:serviceaccount:{current.namespace}:robot"
