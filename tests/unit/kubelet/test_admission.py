"""Whether a node takes a pod, and how it grants resizes."""

from pathlib import Path
from typing import Any

import pytest
from kubelet_pods import container, pod

from kybern.component.clock import Clock
from kybern.kubelet.admission.allocations import Allocations
from kybern.kubelet.admission.gate import Admission
from kybern.kubelet.admission.predicates import holder, refusal, without_app_armor
from kybern.kubelet.paths import Paths

Obj = dict[str, Any]
NODE: Obj = {"metadata": {"name": "n", "labels": {"zone": "a"}}, "spec": {}}
ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "pods": "3", "example.com/gpu": "1"}


def asking(cpu: str, uid: str = "u1", **fields: Any) -> Obj:
    made = pod(container(resources={"requests": {"cpu": cpu}}), **fields)
    return {**made, "metadata": {**made["metadata"], "uid": uid}}


def with_port(address: str = "", number: int = 80, protocol: str = "TCP") -> Obj:
    port = {"containerPort": 1, "hostPort": number, "hostIP": address, "protocol": protocol}
    return pod(container(ports=[port]))


def reason(candidate: Obj, *others: Obj, node: Obj = NODE) -> str:
    found = refusal(candidate, node, ALLOCATABLE, [holder(other) for other in others])
    return found.reason if found else ""


def test_resources_that_are_not_left_refuse_a_pod() -> None:
    found = refusal(asking("1500m"), NODE, ALLOCATABLE, [holder(asking("600m"))])
    assert found is not None
    assert (found.reason, found.message) == (
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000",
    )
    assert reason(asking("1400m"), asking("600m")) == ""
    assert reason(pod(), pod(), pod(), pod()) == "OutOfpods"
    gpu = pod(container(resources={"requests": {"example.com/gpu": "1"}}))
    assert reason(gpu) == ""
    assert reason(gpu, gpu) == "OutOfexample.com/gpu"
    elsewhere = pod(container(resources={"requests": {"example.com/unknown": "1"}}))
    assert reason(elsewhere) == ""


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (("",), ("10.0.0.1",), True),
        (("10.0.0.1",), ("10.0.0.2",), False),
        (("", 80), ("", 81), False),
        (("", 80, "TCP"), ("", 80, "UDP"), False),
    ],
)
def test_a_taken_host_port_refuses_a_pod(one: Any, other: Any, clash: bool) -> None:
    assert reason(with_port(*one), with_port(*other)) == ("NodePorts" if clash else "")


def test_a_pod_on_the_wrong_node_is_refused() -> None:
    assert reason(pod(nodeSelector={"zone": "b"})) == "NodeAffinity"
    assert reason(pod(nodeName="other")) == "NodeName"
    assert reason(pod(os={"name": "windows"})) == "PodOSNotSupported"
    assert reason(pod(nodeSelector={"zone": "a"}, nodeName="n", os={"name": "linux"})) == ""


def test_only_no_execute_taints_refuse_and_static_pods_run_regardless() -> None:
    def tainted(effect: str) -> Obj:
        return {**NODE, "spec": {"taints": [{"key": "k", "effect": effect}]}}

    assert reason(pod(), node=tainted("NoSchedule")) == ""
    assert reason(pod(), node=tainted("NoExecute")) == "TaintToleration"
    tolerant = pod(tolerations=[{"operator": "Exists"}])
    assert reason(tolerant, node=tainted("NoExecute")) == ""
    static = pod()
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert reason(static, node=tainted("NoExecute")) == ""


def test_what_the_node_cannot_enforce_is_refused() -> None:
    strict = pod(securityContext={"supplementalGroupsPolicy": "Strict"})
    assert reason(strict) == "SupplementalGroupsPolicyNotSupported"
    able = {**NODE, "status": {"features": {"supplementalGroupsPolicy": True}}}
    assert reason(strict, node=able) == ""
    assert (
        without_app_armor(pod(securityContext={"appArmorProfile": {"type": "Unconfined"}})) is None
    )
    confined = container(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    found = without_app_armor(pod(confined))
    assert found is not None
    assert found.reason == "AppArmor"


class Gate:
    """An admission with its surroundings."""

    def __init__(self, root: Path) -> None:
        self.events: list[tuple[str, str]] = []
        self.changed: list[str] = []
        allocations = Allocations(Paths(root))
        allocations.load()
        self.admission = Admission(
            allocations, lambda: NODE, lambda: ALLOCATABLE, Clock(), self._event
        )
        self.admission.on_change = self.changed.append

    def _event(self, about: Obj, type: str, reason: str, message: str) -> None:
        self.events.append((about["metadata"]["uid"], reason))

    def resize(self, uid: str, cpu: str, generation: int = 4, **fields: Any) -> Obj:
        wanted = asking(cpu, uid, **fields)
        wanted["metadata"]["generation"] = generation
        self.admission.observe(wanted)
        return wanted

    def cpu(self, wanted: Obj) -> str:
        granted = self.admission.granted(wanted)
        return granted["spec"]["containers"][0]["resources"]["requests"]["cpu"]

    def pending(self, uid: str) -> list[str]:
        return [c["reason"] for c in self.admission.conditions(uid) if "reason" in c]


async def test_a_resize_waits_for_room_and_the_most_important_gets_it(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    for uid, cpu in (("big", "1600m"), ("low", "100m"), ("high", "100m")):
        assert await gate.admission.admit(asking(cpu, uid)) is None
    low = gate.resize("low", "1")
    high = gate.resize("high", "1", priority=10)
    assert gate.pending("low") == gate.pending("high") == ["Deferred"]
    assert gate.cpu(low) == gate.cpu(high) == "100m"
    gate.admission.release("big")
    assert (gate.cpu(high), gate.cpu(low)) == ("1", "1")
    assert [uid for uid, reason in gate.events if reason == "ResizeStarted"] == ["high", "low"]


async def test_a_reverted_resize_waits_no_longer(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    assert await gate.admission.admit(asking("1", "a")) is None
    gate.resize("a", "5")
    assert gate.pending("a") == ["Deferred"]
    gate.resize("a", "1", generation=5)
    assert gate.admission.conditions("a") == []
    assert gate.changed == ["a", "a"]


async def test_a_granted_size_outlives_the_kubelet(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    assert await gate.admission.admit(asking("1", "a")) is None
    await gate.admission.save("a")
    later = Gate(tmp_path)
    wanted = asking("5", "a")
    assert await later.admission.admit(wanted) is None
    assert later.cpu(wanted) == "1"
    assert later.pending("a") == ["Deferred"]


def made(uid: str, hour: int, **fields: Any) -> Obj:
    """A pod of that hour that asks for half the node."""
    found = asking("1", uid, **fields)
    found["metadata"]["creationTimestamp"] = f"2026-01-01T{hour:02}:00:00Z"
    return found


async def test_a_kubelet_that_starts_again_keeps_the_older_pods_where_room_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, pods = Gate(tmp_path), [made("b-first", 1), made("a-second", 2)]
    for one in pods:
        assert await gate.admission.admit(one) is None
        await gate.admission.save(one["metadata"]["uid"])
    monkeypatch.setitem(ALLOCATABLE, "cpu", "1")
    later = Gate(tmp_path)
    for one in pods:
        assert later.admission.recall(one)
    found = [await later.admission.admit(one) for one in reversed(pods)]
    assert [refusal and refusal.reason for refusal in found] == ["OutOfcpu", None]
    assert later.admission.knows("a-second"), "until it has ended"


async def test_a_kubelet_that_starts_again_judges_where_its_pods_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = made("a", 1, nodeSelector={"zone": "a"})
    gate = Gate(tmp_path)
    assert await gate.admission.admit(wanted) is None
    await gate.admission.save("a")
    monkeypatch.setitem(NODE["metadata"], "labels", {"zone": "b"})
    found = await Gate(tmp_path).admission.admit(wanted)
    assert found is not None and found.reason == "NodeAffinity"


async def test_a_refused_pod_holds_nothing(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    found = await gate.admission.admit(asking("3", "a"))
    assert found is not None
    assert await gate.admission.admit(asking("2", "b")) is None
    assert not (tmp_path / "pods" / "a").exists()


async def test_a_completed_resize_is_told_once(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    assert await gate.admission.admit(asking("1", "a")) is None
    before = asking("1", "a")
    wanted = gate.resize("a", "2")
    gate.admission.settle(before, due=False)
    assert [c["type"] for c in gate.admission.conditions("a")] == ["PodResizeInProgress"]
    gate.admission.settle(wanted, due=False)
    gate.admission.settle(wanted, due=False)
    assert gate.admission.conditions("a") == []
    assert [reason for _, reason in gate.events] == ["ResizeStarted", "ResizeCompleted"]
