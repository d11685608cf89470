"""What-if: the core on a snapshot."""

from typing import Any

from test_decision import node, pod

from kybern.scheduler.simulate import Snapshot, simulate

Obj = dict[str, Any]


def test_pods_are_placed_by_priority_and_nothing_outside_changes() -> None:
    there = pod("there", cpu="3", nodeName="a")
    done = {**pod("done", cpu="4", nodeName="b"), "status": {"phase": "Succeeded"}}
    snapshot = Snapshot(nodes=[node("a"), node("b")], pods=[there, done])
    wanted = [
        pod("small"),
        pod("large", cpu="4", priority=10),
        pod("none", cpu="4"),
        pod("gated", schedulingGates=[{"name": "g"}]),
        pod("foreign", schedulerName="other"),
    ]
    fates = {one.pod["metadata"]["name"]: one for one in simulate(snapshot, wanted)}
    assert fates["large"].node == "b"
    assert fates["small"].node == "a"
    assert fates["none"].message == (
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
        "2 No preemption victims found for incoming pod."
    )
    assert fates["none"].explanation["summary"] == "no node of 2 fits; a lacks 4 cpu"
    assert fates["gated"].message == "waiting for scheduling gates: [g]"
    assert fates["foreign"].message == 'no profile for scheduler name "other"'
    assert [one.node for one in simulate(snapshot, wanted)] == [
        one.node for one in simulate(snapshot, wanted)
    ]


def test_important_pods_push_others_aside_which_are_placed_anew() -> None:
    controller = {"kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}
    lesser = pod("lesser", cpu="3", nodeName="a")
    lesser["metadata"]["ownerReferences"] = [controller]
    snapshot = Snapshot(nodes=[node("a"), node("b", cpu="1"), node("c", cpu="3")], pods=[lesser])
    vital, again = simulate(snapshot, [pod("vital", cpu="4", priority=10)])
    assert (vital.node, [one["metadata"]["name"] for one in vital.evicted]) == ("a", ["lesser"])
    assert (again.pod["metadata"]["uid"], again.node) == ("lesser-again", "c")


def test_a_volume_goes_to_one_claim_only() -> None:
    def claim(name: str) -> Obj:
        spec = {"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}
        return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec}

    def user(name: str) -> Obj:
        return pod(name, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": name}}])

    volume = {
        "metadata": {"name": "disk", "uid": "disk"},
        "spec": {"storageClassName": "local", "capacity": {"storage": "1Gi"}},
        "status": {"phase": "Available"},
    }
    delayed = {
        "metadata": {"name": "local", "uid": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    snapshot = Snapshot(
        nodes=[node("a")],
        claims=[claim("one"), claim("two")],
        volumes=[volume],
        storage_classes=[delayed],
    )
    first, second = simulate(snapshot, [user("one"), user("two")])
    assert first.node == "a"
    assert "didn't find available persistent volumes to bind" in second.message
    assert "claimRef" not in volume["spec"]
