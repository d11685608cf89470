"""``kybern kubectl`` at simulated nodes: its verbs, forms and failures."""

import json
import re
import sys
from typing import Any

import pytest
import yaml
from kubectl_lab import Kubectl, until
from sample_objects import config_map, deployment, pod


@pytest.fixture
def kubectl(environment: dict[str, str], namespace: str) -> Kubectl:
    program = (sys.executable, "-m", "kybern.cluster.cli", "kubectl")
    return Kubectl(program, environment, namespace, (1, 36))


_WHICH = ("namespace", "name", "uid")


def applied(kubectl: Kubectl, *objs: Any) -> None:
    kubectl.apply(list(objs))


def test_applying_and_getting(kubectl: Kubectl) -> None:
    settings = config_map("settings", {"tier": "front"}, colour="blue")
    assert kubectl.apply(settings).out == "configmap/settings created\n"
    assert kubectl.apply(settings).out == "configmap/settings unchanged\n"
    changed = config_map("settings", colour="red")
    assert kubectl.apply(changed).out == "configmap/settings configured\n"
    for form in ("yaml", "json"):
        found = yaml.safe_load(kubectl.ok("get", "cm", "settings", "-o", form).out)
        assert (found["kind"], found["data"]) == ("ConfigMap", {"colour": "red"})
        assert "labels" not in found["metadata"]


def test_forms(kubectl: Kubectl) -> None:
    applied(kubectl, deployment("web", 2))
    row = r"^web +2/2 +2 +2 +\d+s +main +app:1 +app=web$"
    until(lambda: re.search(row, kubectl.ok("get", "deploy", "-o", "wide").out, re.MULTILINE))
    header = kubectl.ok("get", "deploy").lines[0].split()
    assert header == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert kubectl.ok("get", "deploy", "-o", "name").out == "deployment.apps/web\n"
    template = r'{range .items[*]}{.metadata.labels.app}:{.status.phase}{"\n"}{end}'
    out = kubectl.ok("get", "pods", "-o", f"jsonpath={template}").lines
    assert out == ["web:Running", "web:Running"]
    columns = "custom-columns=NAME:.metadata.name,IMAGE:.spec.template.spec.containers[*].image"
    rows = [line.split() for line in kubectl.ok("get", "deploy", "-o", columns).lines]
    assert rows == [["NAME", "IMAGE"], ["web", "app:1"]]
    kinds = {line.partition("/")[0] for line in kubectl.ok("get", "all").lines if "/web" in line}
    assert kinds == {"pod", "deployment.apps", "replicaset.apps"}


def test_describing(kubectl: Kubectl) -> None:
    applied(kubectl, pod("p"))
    until(lambda: "Scheduled" in kubectl.ok("describe", "pod", "p").out)
    said = kubectl.ok("describe", "pod", "p").out
    assert re.search(r"Name: +p\n", said) and re.search(r"Node Name: +simulated-\d", said)
    told = r"Normal +Scheduled +\d+s +default-scheduler +Successfully assigned"
    assert re.search(told, said)
    found = json.loads(kubectl.ok("get", "pod", "p", "-o", "json").out)
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "p.repeated"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "series": {"count": 3, "lastObservedTime": "2026-01-02T00:00:00.000000Z"},
        "reportingController": "tester",
        "reportingInstance": "tester-1",
        "action": "Testing",
        "reason": "Repeated",
        "regarding": {"kind": "Pod", **{k: found["metadata"][k] for k in _WHICH}},
        "note": "again and again",
        "type": "Normal",
    }
    applied(kubectl, event)
    told = r"Repeated +\d+\S+ \(x3 over \d+\S+\) +tester +again and again\n +Normal +Scheduled"
    assert re.search(told, kubectl.ok("describe", "pod", "p").out)


def test_deleting(kubectl: Kubectl) -> None:
    applied(kubectl, config_map("a"), config_map("b", {"set": "x"}), pod("p"))
    assert kubectl.ok("delete", "cm", "a").out == 'configmap "a" deleted\n'
    assert kubectl.ok("delete", "cm", "-l", "set=x").out == 'configmap "b" deleted\n'
    kubectl.ok("delete", "pod", "p")
    assert kubectl("get", "pod", "p").code == 1
    kubectl.ok("delete", "pod", "p", "--ignore-not-found")


def test_failures(kubectl: Kubectl) -> None:
    done = kubectl("get", "cm", "nobody")
    assert done.code == 1 and 'configmaps "nobody" not found' in done.err
    done = kubectl("get", "unicorns")
    assert done.code == 1
    assert 'the server doesn\'t have a resource type "unicorns"' in done.err
    bad = deployment("web")
    bad["spec"]["replicas"] = -1
    done = kubectl("apply", "-f", "-", stdin=json.dumps(bad))
    assert done.code == 1 and "spec.replicas: Invalid value: -1" in done.err
    assert "Traceback" not in done.err


def test_watching(kubectl: Kubectl) -> None:
    with kubectl.running("get", "cm", "-w") as watching:
        watching.expect("kube-root-ca.crt")
        applied(kubectl, config_map("settings"))
        watching.expect(r"^settings +0 +\d+s")
