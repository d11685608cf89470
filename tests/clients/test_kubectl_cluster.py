"""What kubectl asks of the cluster as a whole: discovery, rights, nodes, configuration."""

import json
import re
from collections.abc import Iterator

import pytest
from kubectl_lab import Kubectl, until
from sample_objects import deployment, pod

NODE = "simulated-2"


def test_versions(any_kubectl: Kubectl) -> None:
    found = any_kubectl.ok("version", "-o", "json").json()
    assert (found["serverVersion"]["major"], found["serverVersion"]["minor"]) == ("1", "36")
    assert re.match(r"v1\.36\.\d+\+kybern", found["serverVersion"]["gitVersion"])


def test_the_cluster_s_address(any_kubectl: Kubectl) -> None:
    said = re.sub(r"\x1b\[[\d;]*m", "", any_kubectl.ok("cluster-info").out)
    assert re.search(r"Kubernetes (control plane|master) is running at https://127\.0\.0\.1:", said)


def test_api_versions(any_kubectl: Kubectl) -> None:
    versions = any_kubectl.ok("api-versions").lines
    assert {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2"} <= set(versions)
    assert "rbac.authorization.k8s.io/v1" in versions


def test_api_resources(any_kubectl: Kubectl) -> None:
    wide = any_kubectl.ok("api-resources", "-o", "wide", "--no-headers").out
    assert re.search(r"^pods +po +v1 +true +Pod +\W?create", wide, re.MULTILINE)
    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment", wide, re.MULTILINE)
    assert re.search(r"^nodes +no +v1 +false +Node", wide, re.MULTILINE)
    plain = any_kubectl.ok("api-resources", "--api-group=batch", "-o", "name").lines
    assert plain == ["cronjobs.batch", "jobs.batch"]
    assert "secrets" not in any_kubectl.ok("api-resources", "--namespaced=false").out


def test_short_names_and_categories(any_kubectl: Kubectl) -> None:
    for name in ("po", "deploy", "svc", "ns", "cm", "sa", "ing", "netpol", "sc", "pv", "crd"):
        any_kubectl.ok("get", name)
    assert "service/kubernetes" in any_kubectl.ok("get", "all").out


def test_rights(any_kubectl: Kubectl) -> None:
    assert any_kubectl.ok("auth", "can-i", "delete", "nodes").out == "yes\n"
    done = any_kubectl("auth", "can-i", "create", "pods", "--as=ann")
    assert (done.code, done.out.split()[0]) == (1, "no")
    viewer = "--as=system:serviceaccount:default:default"
    said = any_kubectl.ok("auth", "can-i", "--list", viewer).out
    assert re.search(
        r"selfsubjectaccessreviews\.authorization\.k8s\.io +\[\] +\[\] +\[create\]", said
    )
    refused = any_kubectl("get", "pods", "--as=ann")
    assert refused.err.strip() == (
        'Error from server (Forbidden): pods is forbidden: User "ann" cannot list resource "pods" '
        'in API group "" in the namespace "default"'
    )


def test_granting_rights(kubectl: Kubectl) -> None:
    kubectl.ok("create", "rolebinding", "viewers", "--clusterrole=view", "--user=ann")
    until(lambda: kubectl("get", "pods", "--as=ann").code == 0)
    assert "cannot delete resource" in kubectl("delete", "pod", "p", "--as=ann").err


def test_who_one_is(current_kubectl: Kubectl) -> None:
    found = current_kubectl.ok("auth", "whoami", "-o", "json").json()["status"]["userInfo"]
    assert "system:masters" in found["groups"] and "system:authenticated" in found["groups"]


def test_reconciling_rights(kubectl: Kubectl) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    meta = {"name": "reader", "namespace": kubectl.namespace}
    text = json.dumps({**role, "metadata": meta, "rules": rules})
    done = kubectl.ok("auth", "reconcile", "-f", "-", stdin=text)
    assert "role.rbac.authorization.k8s.io/reader reconciled" in done.out


def test_configuration(any_kubectl: Kubectl) -> None:
    found = any_kubectl.ok("config", "view", "--minify", "-o", "json").json()
    assert found["current-context"] == any_kubectl.ok("config", "current-context").out.strip()
    assert found["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")


def test_usage_without_metrics_fails_cleanly(any_kubectl: Kubectl) -> None:
    for what in ("nodes", "pods"):
        done = any_kubectl("top", what)
        assert (done.code, done.out, done.err.strip()) == (
            1,
            "",
            "error: Metrics API not available",
        )


@pytest.fixture
def node(any_kubectl: Kubectl) -> Iterator[str]:
    """A node that the test may spoil."""
    yield NODE
    any_kubectl.ok("uncordon", NODE)
    if any_kubectl.value("{.spec.taints}", "node", NODE):
        any_kubectl.ok("taint", "node", NODE, "spoiled-")


def test_cordoned_nodes_take_no_pods(kubectl: Kubectl, node: str) -> None:
    assert kubectl.ok("cordon", node).out == f"node/{node} cordoned\n"
    assert re.search(rf"{node} +Ready,SchedulingDisabled", kubectl.ok("get", "nodes").out)
    kubectl.apply(deployment("web", 6))
    kubectl.ok("rollout", "status", "deploy/web")
    assert node not in kubectl.value("{.items[*].spec.nodeName}", "pods").split()
    assert kubectl.ok("uncordon", node).out == f"node/{node} uncordoned\n"
    assert kubectl.value("{.spec.unschedulable}", "node", node) == ""


def test_draining_moves_pods(kubectl: Kubectl, node: str) -> None:
    kubectl.apply(deployment("web", 6))
    kubectl.ok("rollout", "status", "deploy/web")
    assert node in kubectl.value("{.items[*].spec.nodeName}", "pods").split()
    done = kubectl.ok("drain", node, "--ignore-daemonsets", "--force", "--pod-selector=app=web")
    assert f"node/{node} drained" in done.out or f"node/{node} evicted" in done.out
    kubectl.ok("rollout", "status", "deploy/web")
    until(lambda: node not in kubectl.value("{.items[*].spec.nodeName}", "pods").split())


def test_taints_keep_pods_away(kubectl: Kubectl, node: str) -> None:
    assert kubectl.ok("taint", "node", node, "spoiled=yes:NoSchedule").out == (
        f"node/{node} tainted\n"
    )
    picky = pod("p", nodeSelector={"kubernetes.io/hostname": node})
    kubectl.apply(picky)
    until(lambda: "FailedScheduling" in kubectl.ok("get", "events").out)
    assert "untolerated taint" in kubectl.ok("get", "events").out
    kubectl.ok("taint", "node", node, "spoiled-")
    kubectl.ok("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")


def test_the_client_s_cache_of_discovery_is_renewed(kubectl: Kubectl) -> None:
    """A kind that appears later is found without clearing caches by hand."""
    group = f"late{kubectl.version[1]}.example.com"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"lates.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Late", "plural": "lates"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    kubectl.apply(definition)
    kubectl.ok("wait", "--for=condition=Established", f"crd/lates.{group}", "--timeout=20s")
    assert kubectl.ok("get", f"lates.{group}").err.startswith("No resources found")
    kubectl.ok("delete", "crd", f"lates.{group}")
