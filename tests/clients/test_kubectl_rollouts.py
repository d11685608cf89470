"""``kubectl rollout``, ``scale``, ``wait``, ``expose`` and ``autoscale`` on workloads."""

import pytest
from kubectl_lab import Kubectl, until
from sample_objects import deployment, job, pod, service

IMAGE = "{.spec.template.spec.containers[0].image}"


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    """A kubectl beside a Deployment that is rolled out."""
    kubectl.apply(deployment("web"))
    done = kubectl.ok("rollout", "status", "deploy/web", "--timeout=20s")
    assert done.lines[-1] == 'deployment "web" successfully rolled out'
    return kubectl


def test_undo_goes_back_to_the_revision_before(web: Kubectl) -> None:
    web.ok("set", "image", "deploy/web", "main=app:2")
    web.ok("rollout", "status", "deploy/web")
    history = web.ok("rollout", "history", "deploy/web").lines
    assert [line.split()[0] for line in history if line[:1].isdigit()] == ["1", "2"]
    assert "app:1" in web.ok("rollout", "history", "deploy/web", "--revision=1").out
    done = web.ok("rollout", "undo", "deploy/web").out
    assert done == "deployment.apps/web rolled back\n"
    web.ok("rollout", "status", "deploy/web")
    assert web.value(IMAGE, "deploy", "web") == "app:1"
    images = web.value("{.items[*].spec.containers[0].image}", "pods", "-l", "app=web")
    until(lambda: web.value("{.status.replicas}", "deploy", "web") == "2")
    assert "app:1" in images
    web.ok("rollout", "undo", "deploy/web", "--to-revision=2")
    assert web.value(IMAGE, "deploy", "web") == "app:2"


def test_pausing_holds_a_rollout(web: Kubectl) -> None:
    web.ok("rollout", "pause", "deploy/web")
    web.ok("set", "image", "deploy/web", "main=app:2")
    until(
        lambda: (
            web.value("{.status.observedGeneration}", "deploy", "web")
            == web.value("{.metadata.generation}", "deploy", "web")
        )
    )
    assert len(web.ok("get", "rs", "-o", "name").lines) == 1
    web.ok("rollout", "resume", "deploy/web")
    web.ok("rollout", "status", "deploy/web")
    assert len(web.ok("get", "rs", "-o", "name").lines) == 2


def test_restarting_replaces_the_pods(web: Kubectl) -> None:
    before = set(web.ok("get", "pods", "-l", "app=web", "-o", "name").lines)
    assert web.ok("rollout", "restart", "deploy/web").out == "deployment.apps/web restarted\n"
    web.ok("rollout", "status", "deploy/web")
    until(lambda: not before & set(web.ok("get", "pods", "-l", "app=web", "-o", "name").lines))


def test_scaling(web: Kubectl) -> None:
    assert web.ok("scale", "deploy/web", "--replicas=4").out == "deployment.apps/web scaled\n"
    web.ok("rollout", "status", "deploy/web")
    until(lambda: web.value("{.status.readyReplicas}", "deploy", "web") == "4")
    done = web("scale", "deploy/web", "--current-replicas=9", "--replicas=1")
    assert done.code == 1 and "Expected replicas to be 9, was 4" in done.err
    web.ok("scale", "deploy/web", "--replicas=0")
    until(lambda: not web.ok("get", "pods", "-l", "app=web", "-o", "name").out)


def test_waiting(kubectl: Kubectl) -> None:
    kubectl.apply([deployment("web"), pod("p"), job("once")])
    kubectl.ok("wait", "--for=condition=Available", "deploy/web", "--timeout=20s")
    done = kubectl.ok("wait", "--for=condition=Ready", "pod", "--all", "--timeout=20s")
    assert "pod/p condition met" in done.out
    kubectl.ok("wait", "--for=condition=Complete", "job/once", "--timeout=20s")
    with kubectl.running("wait", "--for=delete", "pod/p", "--timeout=20s", "-v=6") as waiting:
        waiting.expect("watch=true")
        kubectl.ok("delete", "pod", "p")
        assert waiting.ends() == 0
    done = kubectl("wait", "--for=condition=Frozen", "deploy/web", "--timeout=1s")
    assert done.code == 1 and "timed out waiting for the condition" in done.err


def test_waiting_for_a_value(current: Kubectl) -> None:
    current.apply(deployment("web"))
    current.ok("wait", "--for=jsonpath={.status.readyReplicas}=2", "deploy/web", "--timeout=20s")


def test_exposing(web: Kubectl) -> None:
    assert web.ok("expose", "deploy", "web", "--port=80", "--target-port=http").out == (
        "service/web exposed\n"
    )
    found = web.ok("get", "svc", "web", "-o", "json").json()["spec"]
    assert found["selector"] == {"app": "web"}
    assert found["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": "http"}]
    until(lambda: len(web.value("{.subsets[*].addresses[*].ip}", "ep", "web").split()) == 2)
    slices = "{.items[*].endpoints[*].addresses[0]}"
    until(lambda: len(web.value(slices, "endpointslices").split()) == 2)


def test_autoscaling(web: Kubectl) -> None:
    web.ok("autoscale", "deploy", "web", "--min=1", "--max=3", "--cpu-percent=50")
    target = "{.spec.maxReplicas} {.spec.scaleTargetRef.name}"
    assert web.value(target, "hpa.v1.autoscaling", "web") == "3 web"


def test_stateful_sets_and_daemon_sets_keep_revisions(kubectl: Kubectl) -> None:
    daemon = deployment("agent")
    daemon["kind"] = "DaemonSet"
    del daemon["spec"]["replicas"]
    stateful = deployment("db", 1)
    stateful["kind"] = "StatefulSet"
    stateful["spec"]["serviceName"] = "db"
    kubectl.apply([service("db"), daemon, stateful])
    assert kubectl.value("{.spec.updateStrategy.type}", "ds", "agent") == "RollingUpdate"
    assert kubectl.value("{.spec.podManagementPolicy}", "sts", "db") == "OrderedReady"
