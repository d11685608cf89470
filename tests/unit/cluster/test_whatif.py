"""What-if: manifests become pods, nodes go and come, and the scheduler decides."""

import io
from typing import Any

import pytest
from rich.console import Console

from kybern.api import objects
from kybern.api.kinds import builtin_registry
from kybern.cluster.questions.cluster_snapshot import ClusterObjects
from kybern.cluster.questions.expansion import ManifestError
from kybern.cluster.questions.nodes import NoSuchNode
from kybern.cluster.questions.whatif import Changes, Outcome, what_if
from kybern.cluster.questions.whatif_text import show

Obj = dict[str, Any]


def node(name: str, cpu: str = "4", taints: list[Obj] | None = None) -> Obj:
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": taints or []},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}},
    }


def spec(cpu: str = "1", **more: Any) -> Obj:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"containers": [container], **more}


def pod(name: str, where: str, cpu: str = "1", owner: tuple[str, str] | None = None) -> Obj:
    meta: Obj = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}}
    if owner is not None:
        kind, uid = owner
        meta["ownerReferences"] = [{"kind": kind, "name": uid, "uid": uid, "controller": True}]
    return {"kind": "Pod", "metadata": meta, "spec": spec(cpu, nodeName=where), "status": {}}


def workload(kind: str, name: str, cpu: str = "1", **fields: Any) -> Obj:
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    template = {"metadata": {"labels": {"app": name}}, "spec": spec(cpu, restartPolicy="Never")}
    if kind != "Job":
        fields["selector"] = {"matchLabels": {"app": name}}
        del template["spec"]["restartPolicy"]
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"template": template, **fields},
    }


def cluster(*objs: Obj) -> ClusterObjects:
    found = ClusterObjects()
    for one in objs:
        found.put(one)
    return found


def nodes_of(outcome: Outcome) -> dict[str, str]:
    fates = [*outcome.placed, *outcome.pending]
    return {one.name: one.node for one in fates}


def printed(outcome: Outcome) -> str:
    out = io.StringIO()
    show(outcome, Console(file=out, highlight=False, width=300))
    return out.getvalue()


def test_workloads_become_their_pods() -> None:
    manifests = [
        workload("Deployment", "web", replicas=3),
        workload("StatefulSet", "db", replicas=2, serviceName="db"),
        workload("Job", "work", parallelism=4, completions=2),
        workload("DaemonSet", "agent"),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec()},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}},
    ]
    tainted = node("b", taints=[{"key": "k", "effect": "NoSchedule"}])
    outcome = what_if(cluster(node("a", "32"), tainted), Changes(manifests, "shop"))
    assert set(nodes_of(outcome)) == {
        *("web-1", "web-2", "web-3"),
        *("db-0", "db-1"),
        *("work-0", "work-1"),
        *("agent-a", "one"),
    }
    assert {one.node for one in outcome.placed} == {"a"}
    assert {one.namespace for one in outcome.placed} == {"shop"}
    owners = {one.name: one.owner for one in outcome.placed}
    assert (owners["web-1"], owners["db-0"]) == ("Deployment/web", "StatefulSet/db")
    text = printed(outcome)
    assert text.startswith("9 pods would be placed.\n")
    assert "shop/Deployment/web    3      new   a (3)" in text


def test_defaults_are_those_of_the_api_server() -> None:
    limited = workload("Deployment", "web", replicas=1)
    container = limited["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"cpu": "3"}}
    urgent = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "urgent"},
        "value": 10,
    }
    limited["spec"]["template"]["spec"]["priorityClassName"] = "urgent"
    lesser = pod("lesser", "a", "2", ("ReplicaSet", "r"))
    outcome = what_if(cluster(node("a"), lesser), Changes([limited, urgent]))
    assert [(one.name, one.evicted) for one in outcome.placed] == [("web-1", ("default/lesser",))]
    assert [one.origin for one in outcome.pending] == ["evicted"]
    assert "pushes aside default/lesser" in printed(outcome)


def test_a_workload_that_is_there_gets_what_it_is_short_of() -> None:
    live = objects.copy(workload("Deployment", "web", replicas=2))
    live["metadata"] |= {"namespace": "default", "uid": "web"}
    kind = builtin_registry().by_kind("apps", "v1", "Deployment")
    assert kind is not None
    kind.kind.strategy.default(live)
    replica_set = {
        "kind": "ReplicaSet",
        "metadata": {
            "name": "rs",
            "namespace": "default",
            "uid": "rs",
            "ownerReferences": [
                {"kind": "Deployment", "name": "web", "uid": "web", "controller": True}
            ],
        },
        "spec": {"selector": live["spec"]["selector"], "template": live["spec"]["template"]},
    }
    held = [pod(f"web-x{i}", "a", owner=("ReplicaSet", "rs")) for i in range(2)]

    def outcome(**changed: Any) -> Outcome:
        there = cluster(node("a", "8"), live, replica_set, *held)
        return what_if(there, Changes([workload("Deployment", "web", **changed)]))

    assert (list(nodes_of(outcome(replicas=3))), outcome(replicas=3).replaced) == (["web-3"], [])
    assert outcome(replicas=1).replaced == ["default/web-x1"]
    anew = outcome(replicas=2, cpu="2")
    assert list(nodes_of(anew)) == ["web-1", "web-2"]
    assert anew.replaced == ["default/web-x0", "default/web-x1"]


def test_claims_of_sets_are_taken_to_be_provisioned_where_the_pod_goes() -> None:
    fast = {
        "kind": "StorageClass",
        "metadata": {
            "name": "fast",
            "uid": "fast",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "example.com/disk",
        "volumeBindingMode": "Immediate",
    }
    stateful_set = workload("StatefulSet", "db", replicas=1, serviceName="db")
    stateful_set["spec"]["volumeClaimTemplates"] = [
        {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    ]
    assert what_if(cluster(node("a"), fast), Changes([stateful_set])).placed[0].node == "a"
    refused = what_if(cluster(node("a")), Changes([stateful_set])).pending[0]
    assert refused.explanation["summary"] == "pod has unbound immediate PersistentVolumeClaims"


def test_a_drained_node_loses_its_pods_but_for_daemons_and_its_own() -> None:
    mirror = pod("mirror", "a")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    finished = {**pod("finished", "a", owner=("Job", "j")), "status": {"phase": "Succeeded"}}
    budget = {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 1},
    }
    there = cluster(
        node("a"),
        node("b"),
        pod("moves", "a", owner=("ReplicaSet", "r")),
        pod("bare", "a"),
        pod("daemon", "a", owner=("DaemonSet", "d")),
        mirror,
        finished,
        budget,
    )
    outcome = what_if(there, Changes(drained=("a",)))
    assert [(one.name, one.origin, one.came_from, one.node) for one in outcome.placed] == [
        ("moves", "drained", "a", "b")
    ]
    assert [objects.name(one) for one in outcome.drained.lost] == ["bare"]
    assert outcome.drained.stays == 2
    (waited,) = outcome.drained.budgets
    assert (waited.allowed, waited.wanted) == (1, 2)
    loads = {one.name: one.pods for one in outcome.loads}
    assert loads == {"a": (10, 4, 2), "b": (10, 0, 1)}
    assert "LOST FOR GOOD" in printed(outcome) and "drained from a" in printed(outcome)


def test_added_nodes_are_like_the_model_but_well_and_get_daemons() -> None:
    sick = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    agent = objects.copy(workload("DaemonSet", "agent"))
    agent["metadata"] |= {"namespace": "default", "uid": "agent"}
    waiting = {**pod("waits", "", "4")}
    del waiting["spec"]["nodeName"]
    there = cluster(node("a", taints=sick), agent, waiting)
    outcome = what_if(there, Changes(added=2))
    assert nodes_of(outcome) == {
        "agent-a-new-1": "a-new-1",
        "agent-a-new-2": "a-new-2",
        "waits": "",
    }
    assert [one.is_new for one in outcome.loads] == [False, True, True]
    there = cluster(node("a", "8"), node("b"), waiting)
    assert nodes_of(what_if(there, Changes(added=1, like="a")))["waits"] in ("a", "b", "a-new-1")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (Changes(drained=("z",)), NoSuchNode, 'there is no node "z"'),
        (Changes(added=1, like="z"), NoSuchNode, 'there is no node "z"'),
        (Changes(added=1), NoSuchNode, "say with --like"),
        (Changes([{**workload("Deployment", "w"), "spec": 3}]), ManifestError, "Deployment w"),
        (Changes([workload("Deployment", "w", replicas=10**9)]), ManifestError, "more than 20000"),
    ],
)
def test_what_cannot_be_supposed_is_refused(
    changes: Changes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        what_if(cluster(node("a"), node("b")), changes)
