"""Pods on a real containerd: start, share, restart, end, and leave nothing behind."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

from kybern.kubelet.bounds import cpu_weight
from kybern.kubelet.main import crash_backoff
from kybern.kubelet.node.machine import has_app_armor
from kybern.kubelet.pods.backoff import Backoff
from kybern.kubelet.pods.log_rotation import LogRotation

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        yield opened


async def test_a_pod_becomes_ready_with_an_address(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY)))
    status = await lab.until_ready(pod)
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.77.0.")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIP"] == "10.77.0.1"
    assert status["qosClass"] == "BestEffort"
    assert [c["type"] for c in status["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    container = lab.container(pod)
    assert container["ready"] and container["started"]
    assert container["state"]["running"]["startedAt"]
    assert lab.events.reasons(pod["metadata"]["name"]) == ["Pulled", "Created", "Started"]
    await lab.gone(pod)
    assert lab.status_of(pod) is pod["status"]


async def test_containers_share_localhost_and_volumes(lab: Lab) -> None:
    server = shell("echo hello > /data/file; nc -ll -p 8080 -e echo from-server", "server")
    client = shell(
        "until [ -s /data/file ] && echo | nc 127.0.0.1 8080 > /data/got; do sleep 0.1; done; "
        "cat /data/got /data/file; " + STAY,
        "main",
    )
    for container in (server, client):
        container["volumeMounts"] = [{"name": "shared", "mountPath": "/data"}]
    pod = lab.run(lab.pod(server, client, volumes=[{"name": "shared", "emptyDir": {}}]))
    await lab.until_ready(pod)
    await until(lambda: lab.log(pod) == "from-server\nhello\n", "the client's output")
    await lab.gone(pod)


async def test_init_containers_run_in_order_before_the_others(lab: Lab) -> None:
    mount = [{"name": "shared", "mountPath": "/data"}]
    first = shell("echo one >> /data/order", "first", volumeMounts=mount)
    second = shell("echo two >> /data/order", "second", volumeMounts=mount)
    main = shell("cat /data/order; " + STAY, volumeMounts=mount)
    pod = lab.run(
        lab.pod(main, initContainers=[first, second], volumes=[{"name": "shared", "emptyDir": {}}])
    )
    status = await lab.until_ready(pod)
    await until(lambda: lab.log(pod) == "one\ntwo\n", "the order")
    assert [s["name"] for s in status["initContainerStatuses"]] == ["first", "second"]
    for init in status["initContainerStatuses"]:
        assert init["ready"]
        assert init["state"]["terminated"]["reason"] == "Completed"
    assert lab.condition(pod, "Initialized") == "True"
    await lab.gone(pod)


async def test_a_failed_init_container_fails_a_pod_that_never_restarts(lab: Lab) -> None:
    pod = lab.run(
        lab.pod(shell(STAY), restartPolicy="Never", initContainers=[shell("exit 3", "first")])
    )
    status = await lab.until_phase(pod, "Failed")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert lab.condition(pod, "Initialized") == "False"
    await lab.gone(pod)


async def test_a_sidecar_starts_first_stays_and_ends_last(lab: Lab) -> None:
    mount = [{"name": "shared", "mountPath": "/data"}]
    sidecar = shell(
        "echo side-up >> /data/order; trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.1; done",
        "side",
        restartPolicy="Always",
        volumeMounts=mount,
    )
    main = shell("cat /data/order", volumeMounts=mount)
    pod = lab.run(
        lab.pod(
            main,
            restartPolicy="Never",
            initContainers=[sidecar],
            volumes=[{"name": "shared", "emptyDir": {}}],
        )
    )
    status = await lab.until_phase(pod, "Succeeded")
    await until(lambda: lab.log(pod) == "side-up\n", "the log of the sidecar's file")
    main_end = status["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    side_end = status["initContainerStatuses"][0]["state"]["terminated"]["finishedAt"]
    assert side_end >= main_end
    await lab.gone(pod)


async def test_phases_follow_exit_codes_and_restart_policy(lab: Lab) -> None:
    good = lab.run(lab.pod(shell("exit 0"), restartPolicy="Never"))
    bad = lab.run(lab.pod(shell("exit 7"), restartPolicy="Never"))
    status = await lab.until_phase(good, "Succeeded")
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")
    status = await lab.until_phase(bad, "Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    await lab.gone(good)
    await lab.gone(bad)


async def test_a_crashing_container_backs_off(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell("exit 1")))
    await until(
        lambda: lab.container(pod)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff",
        "the back-off",
    )
    container = lab.container(pod)
    name = pod["metadata"]["name"]
    assert container["restartCount"] == 1
    assert container["state"]["waiting"]["message"] == (
        f"back-off 10s restarting failed container=main "
        f"pod={name}_default({pod['metadata']['uid']})"
    )
    assert container["lastState"]["terminated"]["exitCode"] == 1
    assert lab.status_of(pod)["phase"] == "Running"
    assert "BackOff" in lab.events.reasons(name)
    await lab.gone(pod)


async def test_a_killed_container_is_started_again(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    identity = lab.container(pod)["containerID"]
    await lab.parts.runtime.stop_container(identity.partition("://")[2], 0)
    await until(lambda: lab.container(pod)["restartCount"] == 1, "a restart")
    await lab.until_ready(pod)
    container = lab.container(pod)
    assert container["containerID"] != identity
    assert container["lastState"]["terminated"]["containerID"] == identity
    await lab.gone(pod)


async def test_a_lost_sandbox_is_replaced(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    before = lab.container(pod)["containerID"]
    sandbox = (await lab.parts.reader.pod(pod["metadata"]["uid"])).sandboxes[0]
    known = await lab.parts.runtime.sandbox_status(sandbox.id, verbose=True)
    os.kill(json.loads(known.info["info"])["pid"], signal.SIGKILL)
    await until(
        lambda: (
            lab.container(pod).get("containerID") != before
            and lab.condition(pod, "Ready") == "True"
        ),
        "a new sandbox",
    )
    assert "SandboxChanged" in lab.events.reasons(pod["metadata"]["name"])
    assert lab.container(pod)["restartCount"] == 1
    await lab.gone(pod)


async def test_a_pod_that_crashes_for_ever_keeps_two_attempts(lab: Lab) -> None:
    pod = lab.pod(shell("exit 1"))
    lab.parts.crash_backoff = Backoff(0.05, 0.05)
    lab.run(pod)
    await until(lambda: lab.container(pod)["restartCount"] >= 4, "four restarts")
    containers = await lab.parts.runtime.containers()
    logs = lab.parts.paths.logs(pod) / "main"
    assert len(containers) <= 3
    assert len(list(logs.iterdir())) <= 3
    await lab.gone(pod)
    lab.parts.crash_backoff = crash_backoff(lab.config)


async def test_a_log_that_grew_large_is_rotated(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell("i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done")))
    await lab.until_ready(pod)
    logs = lab.parts.paths.logs(pod) / "main"
    rotation = LogRotation(lab.parts.runtime, lab.clock, max_bytes=500, max_files=3)
    for _ in range(4):
        await until(lambda: (logs / "0.log").stat().st_size > 600, "the log grows")
        await rotation.rotate_all()
        await until(lambda: (logs / "0.log").exists(), "a fresh log")
    assert len(list(logs.iterdir())) == 3
    await lab.gone(pod)


async def test_a_missing_image_shows_why(lab: Lab) -> None:
    absent = {**shell(STAY), "image": "kybern.test/no:1", "imagePullPolicy": "Never"}
    never = lab.run(lab.pod(absent))
    wrong = lab.run(lab.pod({**shell(STAY), "image": "upper/CASE"}))
    missing = lab.run(lab.pod({**shell(STAY), "image": "127.0.0.1:1/no:1"}))

    def reason(pod: dict) -> str:  # type: ignore[type-arg]
        return lab.container(pod)["state"].get("waiting", {}).get("reason", "")

    await until(lambda: reason(never) == "ErrImageNeverPull", "ErrImageNeverPull")
    await until(lambda: reason(wrong) == "InvalidImageName", "InvalidImageName")
    await until(lambda: reason(missing) == "ErrImagePull", "ErrImagePull")
    assert lab.status_of(never)["phase"] == "Pending"
    missing_name = missing["metadata"]["name"]
    assert lab.events.reasons(missing_name)[:2] == ["Pulling", "Failed"]
    lab.workers.wake(missing["metadata"]["uid"])
    await until(lambda: reason(missing) == "ImagePullBackOff", "ImagePullBackOff")
    for pod in (never, wrong, missing):
        await lab.gone(pod)


async def test_termination_waits_for_the_grace_and_no_longer(lab: Lab) -> None:
    polite = lab.run(lab.pod(shell("trap 'sleep 0.2; exit 5' TERM; while :; do sleep 0.1; done")))
    stubborn = lab.run(lab.pod(shell("trap '' TERM; while :; do sleep 0.1; done")))
    await lab.until_ready(polite)
    await lab.until_ready(stubborn)
    for pod in (polite, stubborn):
        lab.delete(pod, grace=2)
    workers = [lab.workers.get(pod["metadata"]["uid"]) for pod in (polite, stubborn)]
    await until(lambda: all(w and w.terminated for w in workers), "both are terminated")
    assert lab.container(polite)["state"]["terminated"]["exitCode"] == 5
    assert lab.container(stubborn)["state"]["terminated"]["exitCode"] == 137
    assert lab.status_of(polite)["phase"] == "Failed"
    await lab.gone(polite)
    await lab.gone(stubborn)


async def test_a_shorter_grace_overtakes_a_longer_one(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell("trap '' TERM; while :; do sleep 0.1; done")))
    await lab.until_ready(pod)
    lab.delete(pod, grace=600)
    await until(lambda: "Killing" in lab.events.reasons(pod["metadata"]["name"]), "the kill begins")
    await lab.gone(pod)


async def test_termination_messages_and_out_of_memory(lab: Lab) -> None:
    said = lab.run(
        lab.pod(shell("printf 'last words' > /dev/termination-log; exit 1"), restartPolicy="Never")
    )
    logged = lab.run(
        lab.pod(
            shell("echo from the log; exit 1", terminationMessagePolicy="FallbackToLogsOnError"),
            restartPolicy="Never",
        )
    )
    hungry = lab.run(
        lab.pod(
            shell(
                "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}",
                resources={"limits": {"memory": "16Mi"}, "requests": {"memory": "16Mi"}},
            ),
            restartPolicy="Never",
        )
    )
    for pod in (said, logged, hungry):
        await lab.until_phase(pod, "Failed")
    assert lab.container(said)["state"]["terminated"]["message"] == "last words"
    assert lab.container(logged)["state"]["terminated"]["message"] == "from the log\n"
    ended = lab.container(hungry)["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    for pod in (said, logged, hungry):
        await lab.gone(pod)


async def test_out_of_memory_ends_the_container_or_one_process_by_cgroup_version(lab: Lab) -> None:
    amounts = {"memory": "16Mi"}
    # The shell in brackets grows; process 1 waits for it.
    hungry = shell(
        "(x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}) || exit 3",
        resources={"limits": amounts, "requests": amounts},
    )
    pod = lab.run(lab.pod(hungry, restartPolicy="Never"))
    await lab.until_phase(pod, "Failed")
    ended = lab.container(pod)["state"]["terminated"]
    if lab.parts.cgroups.unified:
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    else:
        assert ended["exitCode"] == 3
    await lab.gone(pod)


async def test_burstable_pods_weigh_what_they_asked_for_together(lab: Lab) -> None:
    pods = [
        lab.run(lab.pod(shell(STAY, resources={"requests": {"cpu": cpu}})))
        for cpu in ("100m", "150m")
    ]
    idle = lab.run(lab.pod(shell(STAY)))
    for pod in (*pods, idle):
        await lab.until_ready(pod)
    cgroups = lab.parts.cgroups
    for pod, shares in ((pods[0], 256), (idle, 2)):
        directory = Path(cgroups.parent(pod)).parent.relative_to("/")
        file = "cpu.weight" if cgroups.unified else "cpu.shares"
        mount = Path("/sys/fs/cgroup", "" if cgroups.unified else "cpu")
        weight = int((mount / directory / file).read_text())
        assert weight == (cpu_weight(shares) if cgroups.unified else shares)
    for pod in (*pods, idle):
        await lab.gone(pod)


async def test_app_armor_confines_containers_as_their_pod_says(lab: Lab, tmp_path: Path) -> None:
    if not has_app_armor() or shutil.which("apparmor_parser") is None:
        pytest.skip("the kernel has no AppArmor, or apparmor_parser is not installed")
    profile = tmp_path / "profile"
    allowed = "file, capability, signal, ptrace, mount, network, unix,"
    profile.write_text(f"profile kybern-lab flags=(attach_disconnected) {{ {allowed} }}\n")
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache", profile], check=True)
    kinds: list[tuple[dict[str, str], str]] = [
        ({"type": "RuntimeDefault"}, "cri-containerd.apparmor.d (enforce)"),
        ({"type": "Localhost", "localhostProfile": "kybern-lab"}, "kybern-lab (enforce)"),
        ({"type": "Unconfined"}, "unconfined"),
    ]
    pods = [
        lab.run(lab.pod(shell(STAY), securityContext={"appArmorProfile": kind}))
        for kind, _ in kinds
    ]
    for pod, (_, shown) in zip(pods, kinds, strict=True):
        await lab.until_ready(pod)
        assert await lab.exec(pod, "cat", "/proc/self/attr/current") == f"{shown}\n"
        await lab.gone(pod)
    subprocess.run(["apparmor_parser", "--remove", profile], check=True)


async def test_an_active_deadline_fails_the_pod(lab: Lab) -> None:
    pod = lab.run(lab.pod(shell(STAY), activeDeadlineSeconds=1))
    status = await lab.until_phase(pod, "Failed")
    assert status["reason"] == "DeadlineExceeded"
    await lab.gone(pod)


async def test_one_container_restarts_the_whole_pod_by_its_rule(lab: Lab) -> None:
    mount = [{"name": "shared", "mountPath": "/data"}]
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    init = shell("echo init >> /data/order", "init", volumeMounts=mount)
    source = shell(
        f"if [ ! -e /data/ended ]; then touch /data/ended; sleep 0.5; exit 42; fi; {STAY}",
        restartPolicy="Never",
        restartPolicyRules=[rule],
        volumeMounts=mount,
    )
    other = shell("echo other >> /data/order; " + STAY, "other", volumeMounts=mount)
    pod = lab.run(
        lab.pod(
            source,
            other,
            initContainers=[init],
            restartPolicy="Never",
            volumes=[{"name": "shared", "emptyDir": {}}],
        )
    )
    for name in ("main", "other", "init"):
        await until(lambda n=name: lab.container(pod, n)["restartCount"] == 1, f"{name} again")
    await lab.until_ready(pod)
    assert lab.condition(pod, "AllContainersRestarting") == "False"
    for name in ("main", "other", "init"):
        last = lab.container(pod, name)["lastState"]["terminated"]
        assert (last["reason"], last["exitCode"]) == ("RestartingAllContainers", 137)
    assert await lab.exec(pod, "cat", "/data/order") == "init\nother\n" * 2
    assert len((await lab.parts.reader.pod(pod["metadata"]["uid"])).sandboxes) == 1
    await lab.gone(pod)


async def test_pods_that_are_deleted_while_they_start_leave_nothing(lab: Lab) -> None:
    async def run(moment: str) -> None:
        pod = lab.run(lab.pod(shell(STAY), restartPolicy="Never"))
        name = pod["metadata"]["name"]
        await until(lambda: not moment or moment in lab.events.reasons(name), moment)
        await lab.gone(pod)

    # At once, while the container is made, and while it starts.
    moments = ["", "Pulled", "Created"]
    told = lab.status.set
    codes: set[int] = set()

    def watch(pod: dict[str, Any], status: dict[str, Any]) -> None:
        ends = [c["state"].get("terminated") for c in status.get("containerStatuses") or ()]
        codes.update(end["exitCode"] for end in ends if end)
        told(pod, status)

    lab.status.set = watch  # type: ignore[method-assign]
    try:
        await asyncio.gather(*(run(moment) for moment in moments * 3))
    finally:
        lab.status.set = told  # type: ignore[method-assign]
    assert codes <= {0, 137, 143}
    assert not lab.parts.cgroups.pods()
