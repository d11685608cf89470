"""What a pod needs next."""

import pytest
from kubelet_pods import container, pod, ran, runtime, sandbox

from kybern.kubelet.cri.state import CREATED, EXITED, RUNNING, UNKNOWN
from kybern.kubelet.pods.actions import LIVENESS, STARTUP, Actions, compute


def names(actions: Actions) -> tuple[list[str], list[str], list[str]]:
    return (
        [c["name"] for c in actions.start_init],
        [c["name"] for c in actions.start],
        [kill.container.name for kill in actions.kill],
    )


def test_a_fresh_pod_gets_a_sandbox_and_all_its_containers() -> None:
    actions = compute(pod(container("a"), container("b")), runtime(sandboxes=()), {})
    assert actions.create_sandbox
    assert actions.attempt == 0
    assert names(actions) == ([], ["a", "b"], [])


def test_a_fresh_pod_with_init_containers_starts_only_the_first() -> None:
    wanted = pod(init=(container("i"), container("j")))
    assert names(compute(wanted, runtime(sandboxes=()), {})) == (["i"], [], [])


def test_nothing_is_done_while_all_runs() -> None:
    actions = compute(pod(), runtime(ran()), {})
    assert names(actions) == ([], [], [])
    assert not actions.kill_pod


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ],
)
def test_an_exited_container_restarts_by_policy(policy: str, code: int, again: bool) -> None:
    wanted = pod(container("main"), container("other"), restartPolicy=policy)
    state = runtime(ran(state=EXITED, code=code), ran("other"))
    assert names(compute(wanted, state, {})) == ([], ["main"] if again else [], [])


def test_the_pod_is_killed_when_its_last_container_has_ended_for_good() -> None:
    actions = compute(pod(restartPolicy="Never"), runtime(ran(state=EXITED)), {})
    assert actions.kill_pod
    assert not actions.create_sandbox


def test_a_lost_sandbox_is_replaced_with_the_next_attempt() -> None:
    state = runtime(ran(state=EXITED, code=137), sandboxes=(sandbox(False, 2),))
    actions = compute(pod(), state, {})
    assert (actions.create_sandbox, actions.kill_pod, actions.attempt) == (True, True, 3)
    assert names(actions) == ([], ["main"], [])


def test_a_pod_that_is_through_gets_no_new_sandbox() -> None:
    state = runtime(ran(state=EXITED), sandboxes=(sandbox(False),))
    for policy in ("Never", "OnFailure"):
        actions = compute(pod(restartPolicy=policy), state, {})
        assert actions.kill_pod
        assert not actions.create_sandbox


def test_a_changed_image_restarts_the_container_whatever_the_policy() -> None:
    wanted = pod(container(image="img:2"), restartPolicy="Never")
    actions = compute(wanted, runtime(ran()), {})
    assert names(actions) == ([], ["main"], ["main"])
    assert actions.kill[0].message == "Container main definition changed, will be restarted"


@pytest.mark.parametrize("kind", [LIVENESS, STARTUP])
def test_a_failed_probe_restarts_by_policy(kind: str) -> None:
    verdicts = {("main-0", kind): False}
    actions = compute(pod(), runtime(ran()), verdicts)
    assert names(actions) == ([], ["main"], ["main"])
    assert actions.kill[0].message == f"Container main failed {kind} probe, will be restarted"
    never = compute(
        pod(container(), container("x"), restartPolicy="Never"), runtime(ran(), ran("x")), verdicts
    )
    assert names(never) == ([], [], ["main"])


def test_init_containers_run_one_after_the_other() -> None:
    wanted = pod(init=(container("i"), container("j")))
    assert names(compute(wanted, runtime(ran("i")), {})) == ([], [], [])
    assert names(compute(wanted, runtime(ran("i", EXITED)), {})) == (["j"], [], [])
    both = runtime(ran("i", EXITED), ran("j", EXITED))
    assert names(compute(wanted, both, {})) == ([], ["main"], [])


def test_a_failed_init_container_restarts_or_fails_the_pod() -> None:
    init = (container("i"),)
    failed = runtime(ran("i", EXITED, code=1))
    assert names(compute(pod(init=init), failed, {})) == (["i"], [], [])
    assert compute(pod(init=init, restartPolicy="Never"), failed, {}).kill_pod


def test_a_sidecar_lets_the_next_start_once_its_startup_probe_passed() -> None:
    side = container("s", restartPolicy="Always", startupProbe={"exec": {}})
    wanted = pod(init=(side, container("i")))
    state = runtime(ran("s"))
    assert names(compute(wanted, state, {})) == ([], [], [])
    assert names(compute(wanted, state, {("s-0", STARTUP): True})) == (["i"], [], [])


def test_a_sidecar_restarts_beside_running_containers() -> None:
    wanted = pod(init=(container("s", restartPolicy="Always"),))
    state = runtime(ran("s", EXITED, code=0), ran("main"))
    assert names(compute(wanted, state, {})) == (["s"], [], [])


def test_created_and_unknown_containers_are_started() -> None:
    assert names(compute(pod(), runtime(ran(state=CREATED)), {})) == ([], ["main"], [])
    assert names(compute(pod(), runtime(ran(state=UNKNOWN)), {})) == ([], ["main"], ["main"])


def test_a_deleted_pod_starts_nothing() -> None:
    wanted = pod(container("a"), container("b"))
    wanted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    state = runtime(ran("a", EXITED, code=1), ran("b", RUNNING))
    assert names(compute(wanted, state, {})) == ([], [], [])


def test_a_missing_ephemeral_container_is_started_once() -> None:
    wanted = pod(ephemeralContainers=[container("debug")])
    actions = compute(wanted, runtime(ran()), {})
    assert [c["name"] for c in actions.start_ephemeral] == ["debug"]
    ended = compute(wanted, runtime(ran(), ran("debug", EXITED, code=1)), {})
    assert ended.start_ephemeral == []


def test_one_container_can_restart_the_whole_pod() -> None:
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    source = container("source", restartPolicy="Never", restartPolicyRules=[rule])
    wanted = pod(source, container("other"), init=(container("i"),), restartPolicy="Never")
    ended = ran("source", EXITED, code=42)
    actions = compute(wanted, runtime(ran("i", EXITED), ended, ran("other")), {})
    # Who began it goes last, so that nobody forgets why.
    assert [found.name for found in actions.reset] == ["other", "i", "source"]
    assert names(actions) == ([], [], [])
    actions = compute(wanted, runtime(ended), {})
    assert [found.name for found in actions.reset] == ["source"]
    actions = compute(wanted, runtime(), {})
    assert (actions.reset, names(actions)) == ([], (["i"], [], []))
    actions = compute(wanted, runtime(ran("i", EXITED), ran("source", EXITED, code=41)), {})
    assert actions.reset == []
