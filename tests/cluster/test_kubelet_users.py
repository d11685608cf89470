"""Pods with a user namespace of their own, and runtimes that know of none."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

Obj = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        yield opened


async def able(lab: Lab) -> bool:
    """Whether the runtime says that its default handler makes user namespaces."""
    handlers = (await lab.parts.runtime.status()).runtime_handlers
    assert await lab.parts.runtime.cgroup_driver() in ("", "cgroupfs")
    return any(each.name == "" and each.features.user_namespaces for each in handlers)


def version() -> str:
    return subprocess.run(
        ["containerd", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


async def test_a_runtime_without_user_namespaces_is_not_asked_for_one(lab: Lab) -> None:
    if await able(lab):
        pytest.skip(f"the runtime makes user namespaces: {version()}")
    pod = lab.run(lab.pod(shell(STAY), hostUsers=False))
    name = pod["metadata"]["name"]
    await until(lambda: "FailedCreatePodSandBox" in lab.events.reasons(name), "the event")
    assert lab.events.messages(name, "FailedCreatePodSandBox")[0] == (
        "Failed to create pod sandbox: can't set `spec.hostUsers: false`, "
        "runtime does not support user namespaces"
    )
    assert lab.status_of(pod)["phase"] == "Pending"
    assert not await lab.parts.runtime.sandboxes()
    await lab.gone(pod)


async def test_root_inside_is_nobody_outside(lab: Lab) -> None:
    if not await able(lab):
        pytest.skip(f"user namespaces need containerd 2.0 and runc 1.2 or crun 1.9: {version()}")
    lab.objects.config_maps["settings"] = {"data": {"key": "value"}}
    lab.objects.secrets["secret"] = {"key": b"hidden"}
    pod = lab.run(
        lab.pod(
            shell(
                f"echo written > /scratch/file; {STAY}",
                volumeMounts=[
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "settings", "mountPath": "/settings"},
                    {"name": "secret", "mountPath": "/secret"},
                ],
            ),
            hostUsers=False,
            volumes=[
                {"name": "scratch", "emptyDir": {}},
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "secret", "secret": {"secretName": "secret", "defaultMode": 0o400}},
            ],
        )
    )
    await lab.until_ready(pod)
    uid = pod["metadata"]["uid"]
    file = lab.parts.paths.pod(uid) / "userns"
    first = orjson.loads(file.read_bytes())["uidMappings"][0]["hostId"]
    assert (first % 65536, first >= 65536) == (0, True)
    mapped = (await lab.exec(pod, "cat", "/proc/self/uid_map")).split()
    assert mapped == ["0", str(first), "65536"]

    identity = lab.container(pod)["containerID"].partition("://")[2]
    status = await lab.parts.runtime.container_status(identity, verbose=True)
    process = orjson.loads(status.info["info"])["pid"]
    assert Path(f"/proc/{process}").stat().st_uid == first

    # Files belong to the same ids on both sides, so volumes are what they are for any pod.
    for path in ("/scratch/file", "/settings/key", "/secret/key", "/etc/hosts"):
        owner = await lab.exec(pod, "stat", "-L", "-c", "%u:%g", path)
        assert owner.strip() == "0:0", path
    assert (await lab.exec(pod, "cat", "/secret/key")) == "hidden"
    scratch = lab.parts.paths.volume(uid, "empty-dir", "scratch") / "file"
    assert scratch.stat().st_uid == 0

    other = lab.run(lab.pod(shell(STAY), hostUsers=False))
    await lab.until_ready(other)
    assert (await lab.exec(other, "cat", "/proc/self/uid_map")).split()[1] != str(first)
    await lab.crash()
    lab.begin()
    for each in (pod, other):
        lab.run(each)
    await lab.until_ready(pod)
    third = lab.run(lab.pod(shell(STAY), hostUsers=False))
    await lab.until_ready(third)
    maps = [await lab.exec(each, "cat", "/proc/self/uid_map") for each in (pod, other, third)]
    assert len(set(maps)) == 3
    for each in (pod, other, third):
        await lab.gone(each)
