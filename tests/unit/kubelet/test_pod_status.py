"""Phases, conditions and container statuses out of what is known."""

from typing import Any

import pytest
from kubelet_pods import container, pod, ran, runtime, sandbox

from kybern.kubelet.cri.state import CREATED, EXITED, RUNNING, RuntimePod
from kybern.kubelet.status.containers import Observations, Waiting
from kybern.kubelet.status.generate import Failure, generate
from kybern.kubelet.status.manager import difference

Obj = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"


def status(wanted: Obj, state: RuntimePod, previous: Obj | None = None, **fields: Any) -> Obj:
    seen = fields.pop("seen", Observations())
    return generate(wanted, state, previous or {}, seen, host_ips=["192.0.2.1"], now=NOW, **fields)


def condition(found: Obj, kind: str) -> Obj:
    return next(c for c in found["conditions"] if c["type"] == kind)


@pytest.mark.parametrize(
    ("policy", "state", "code", "phase"),
    [
        ("Always", RUNNING, 0, "Running"),
        ("Always", CREATED, 0, "Pending"),
        ("Always", EXITED, 0, "Running"),
        ("OnFailure", EXITED, 1, "Running"),
        ("OnFailure", EXITED, 0, "Succeeded"),
        ("Never", EXITED, 0, "Succeeded"),
        ("Never", EXITED, 1, "Failed"),
    ],
)
def test_the_phase_of_one_container(policy: str, state: str, code: int, phase: str) -> None:
    found = status(pod(restartPolicy=policy), runtime(ran(state=state, code=code)))
    assert found["phase"] == phase


def test_a_pod_without_containers_yet_is_pending_and_says_what_it_waits_for() -> None:
    found = status(pod(), runtime(sandboxes=()))
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert condition(found, "PodReadyToStartContainers")["status"] == "False"
    assert condition(found, "Ready")["message"] == "containers with unready status: [main]"
    assert found["observedGeneration"] == 3
    assert "podIP" not in found


def test_a_restart_of_all_containers_is_told_from_its_cause_to_its_end() -> None:
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    source = container("source", restartPolicy="Never", restartPolicyRules=[rule])
    wanted = pod(source, container("other"), restartPolicy="Never")
    kind = "AllContainersRestarting"
    before = status(wanted, runtime(ran("source"), ran("other")))
    assert condition(before, kind)["status"] == "False"
    begun = status(wanted, runtime(ran("source", EXITED, code=42), ran("other")), before)
    told = condition(begun, kind)
    assert (told["status"], told["reason"]) == ("True", "RestartAllContainersStarted")
    emptied = status(wanted, runtime(), begun)
    assert condition(emptied, kind)["status"] == "False"
    assert emptied["phase"] == "Running"
    for found in emptied["containerStatuses"]:
        assert found["state"]["waiting"]["reason"] == "RestartingAllContainers"
        assert found["lastState"]["terminated"]["exitCode"] == 137
        assert found["restartCount"] == 1
    waiting = status(wanted, runtime(), emptied)
    assert [found["restartCount"] for found in waiting["containerStatuses"]] == [1, 1]
    assert waiting["phase"] == "Running"
    again = status(wanted, runtime(ran("source"), ran("other")), waiting)
    assert [found["restartCount"] for found in again["containerStatuses"]] == [1, 1]
    last = again["containerStatuses"][0]["lastState"]["terminated"]
    assert last["reason"] == "RestartingAllContainers"


def test_a_terminal_phase_is_never_left() -> None:
    found = status(pod(), runtime(ran()), {"phase": "Succeeded"})
    assert found["phase"] == "Succeeded"


def test_a_deleted_pod_ends_succeeded_or_failed_by_its_exit_codes() -> None:
    good = status(pod(), runtime(ran(state=EXITED)), ended=True)
    bad = status(pod(), runtime(ran(state=EXITED, code=2)), ended=True)
    lost = status(pod(), runtime(sandboxes=()), ended=True)
    assert (good["phase"], bad["phase"], lost["phase"]) == ("Succeeded", "Failed", "Failed")
    assert lost["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_the_node_can_fail_a_pod_with_its_own_reason() -> None:
    found = status(pod(), runtime(ran()), failure=Failure("Evicted", "no room"))
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "Evicted", "no room")
    assert condition(found, "Ready")["reason"] == "PodFailed"


def test_readiness_needs_every_container_and_every_gate() -> None:
    wanted = pod(container("a"), container("b"), readinessGates=[{"conditionType": "lb"}])
    state = runtime(ran("a"), ran("b"))
    unready = status(wanted, state, seen=Observations(ready={"b-0": False}))
    assert condition(unready, "ContainersReady")["message"] == (
        "containers with unready status: [b]"
    )
    gated = status(wanted, state)
    assert condition(gated, "ContainersReady")["status"] == "True"
    assert condition(gated, "Ready")["reason"] == "ReadinessGatesNotReady"
    wanted["status"] = {"conditions": [{"type": "lb", "status": "True"}]}
    ready = status(wanted, state)
    assert condition(ready, "Ready")["status"] == "True"
    assert condition(ready, "lb") == {"type": "lb", "status": "True"}


def test_a_transition_time_moves_only_with_its_status() -> None:
    old = [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}]
    kept = status(pod(), runtime(ran()), {"conditions": old})
    moved = status(pod(), runtime(ran(state=CREATED)), {"conditions": old})
    assert condition(kept, "Ready")["lastTransitionTime"] == "2025-01-01T00:00:00Z"
    assert condition(moved, "Ready")["lastTransitionTime"] == NOW


def test_a_restarted_container_shows_how_it_ended_before() -> None:
    state = runtime(ran(state=EXITED, code=9), ran(attempt=1))
    found = status(pod(), state)["containerStatuses"][0]
    assert found["restartCount"] == 1
    assert found["state"] == {"running": {"startedAt": "1970-01-01T00:00:01Z"}}
    assert found["lastState"]["terminated"]["exitCode"] == 9
    assert found["lastState"]["terminated"]["reason"] == "Error"


def test_a_container_that_waits_to_restart_shows_why() -> None:
    seen = Observations(waiting={"main": Waiting("CrashLoopBackOff", "back-off 10s")})
    found = status(pod(), runtime(ran(state=EXITED, code=1)), seen=seen)["containerStatuses"][0]
    assert found["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert found["lastState"]["terminated"]["exitCode"] == 1


def test_a_container_in_its_post_start_hook_is_not_running_yet() -> None:
    seen = Observations(hooking=frozenset({"main-0"}))
    found = status(pod(), runtime(ran()), seen=seen)
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert found["phase"] == "Pending"


def test_init_containers_hold_the_phase_and_the_condition() -> None:
    wanted = pod(init=(container("i"),))
    waiting = status(wanted, runtime(ran("i")))
    assert waiting["phase"] == "Pending"
    assert waiting["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(waiting, "Initialized")["message"] == (
        "containers with incomplete status: [i]"
    )
    done = status(wanted, runtime(ran("i", EXITED), ran()))
    assert done["phase"] == "Running"
    assert condition(done, "Initialized")["status"] == "True"


def test_containers_behind_a_failed_init_container_stay_waiting() -> None:
    wanted = pod(init=(container("i"),), restartPolicy="Never")
    found = status(wanted, runtime(ran("i", EXITED, code=1)), ended=True)
    assert found["phase"] == "Failed"
    assert found["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_lost_container_counts_as_killed() -> None:
    running = {"name": "main", "restartCount": 0, "state": {"running": {}}, "lastState": {}}
    found = status(pod(), runtime(), {"containerStatuses": [running]})["containerStatuses"][0]
    assert found["restartCount"] == 1
    assert found["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_addresses_stay_known_after_the_sandbox_is_gone() -> None:
    running = status(pod(), runtime(ran()))
    assert (running["podIP"], running["hostIP"]) == ("10.0.0.5", "192.0.2.1")
    stopped = status(pod(), runtime(sandboxes=(sandbox(False),)), running)
    assert stopped["podIPs"] == [{"ip": "10.0.0.5"}]


def test_a_patch_has_only_what_changed_and_replaces_addresses() -> None:
    old = {"phase": "Pending", "hostIP": "h", "reason": "x"}
    new = {"phase": "Running", "hostIP": "h", "podIPs": [{"ip": "a"}]}
    assert difference(old, new) == {
        "phase": "Running",
        "reason": None,
        "podIPs": [{"$patch": "replace"}, {"ip": "a"}],
    }


def test_a_condition_that_turns_true_loses_its_reason() -> None:
    unready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m"}
    ready = {"type": "Ready", "status": "True"}
    patch = difference({"conditions": [unready]}, {"conditions": [ready]})
    assert patch == {"conditions": [{**ready, "reason": None, "message": None}]}
