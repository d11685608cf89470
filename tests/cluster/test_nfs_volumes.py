"""NFS volumes on a real kernel: the server is the kernel's own, on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import needs_containerd, until
from nfs_server import ADDRESS, NfsServer, needs_nfs, nfs_server
from storage_lab import StorageLab, claimed, open_storage_lab, pod

from kybern.api.errors import Obj
from kybern.api.resources import EVENTS, PERSISTENT_VOLUMES, PODS

pytestmark = [needs_nfs, needs_containerd, pytest.mark.asyncio(loop_scope="module")]

# More than an event loop has threads to lend.
MANY = 33


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[tuple[StorageLab, NfsServer]]:
    async with open_storage_lab() as lab, nfs_server(lab.directory / "nfs") as server:
        yield lab, server
        await lab.remove_everything()


async def offer(lab: StorageLab, name: str, source: Obj | None = None, **spec: Any) -> None:
    """A volume of the export, or of another ``source``, and the claim of that name for it."""
    volume: Obj = {
        "metadata": {"name": f"volume-{name}"},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "nfs": source or {"server": ADDRESS, "path": "/"},
            **spec,
        },
    }
    await lab.client.create(PERSISTENT_VOLUMES, volume)
    many = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    await lab.claim(name, volumeName=f"volume-{name}", **many)


async def withdraw(lab: StorageLab, *names: str) -> None:
    await lab.remove_claims(*names)
    for name in names:
        await lab.client.delete(PERSISTENT_VOLUMES, f"volume-{name}")


def inline(**source: Any) -> Obj:
    return {"name": "own", "nfs": {"server": ADDRESS, "path": "/", **source}}


def options(lab: StorageLab) -> list[set[str]]:
    """The options of each NFS mount of the node."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mine = [line for line in lines if line[1].startswith(str(lab.root)) and line[2] == "nfs4"]
    return [set(line[3].split(",")) for line in mine]


async def told(lab: StorageLab, name: str) -> str:
    """Why a pod's volume cannot be mounted."""

    async def found() -> str:
        events, _ = await lab.client.list_all(
            EVENTS, field_selector=f"involvedObject.name={name},reason=FailedMount"
        )
        return str(events[0]["message"]) if events else ""

    return str(await until(found, f"{name} is told why it waits"))


async def test_pods_share_what_they_write(place: tuple[StorageLab, NfsServer]) -> None:
    lab, server = place
    await offer(lab, "shared")
    await lab.run("writer", claimed("shared"))
    await lab.run("other", claimed("shared"))
    assert await lab.exec("writer", "echo hi > /shared/file && cat /shared/file") == "hi\n"
    assert await lab.exec("other", "cat /shared/file") == "hi\n"
    assert (server.exported / "file").read_text() == "hi\n"
    assert len(lab.mounts()) == 2
    summary = await lab.summary_of("writer")
    assert summary["volume"][0]["pvcRef"] == {"name": "shared", "namespace": "default"}
    await lab.remove("writer", "other")
    assert not lab.mounts()
    assert (server.exported / "file").exists()
    await withdraw(lab, "shared")


async def test_who_may_only_read_cannot_write(place: tuple[StorageLab, NfsServer]) -> None:
    lab, _ = place
    await offer(lab, "by-claim")
    await offer(lab, "by-volume", {"server": ADDRESS, "path": "/", "readOnly": True})
    reading = claimed("by-claim")
    reading["persistentVolumeClaim"]["readOnly"] = True
    for name, volume in (
        ("by-claim", reading),
        ("by-volume", claimed("by-volume")),
        ("own", inline(readOnly=True)),
    ):
        await lab.run(name, volume)
        assert "Read-only file system" in await lab.exec(name, f"touch /{name}/new")
        (found,) = options(lab)
        assert "ro" in found
        await lab.remove(name)
    await withdraw(lab, "by-claim", "by-volume")


async def test_a_volumes_mount_options_are_used(place: tuple[StorageLab, NfsServer]) -> None:
    lab, _ = place
    await offer(lab, "tuned", mountOptions=["nfsvers=4.1", "noatime", "rsize=8192", "soft"])
    await lab.run("user", claimed("tuned"))
    (found,) = options(lab)
    assert {"rw", "vers=4.1", "noatime", "rsize=8192", "soft"} <= found
    await lab.remove("user")
    await withdraw(lab, "tuned")


async def test_a_pod_brings_its_own_volume(place: tuple[StorageLab, NfsServer]) -> None:
    lab, server = place
    (server.exported / "part").mkdir()
    await lab.run("user", {**inline(path="/part"), "mount": {"subPath": "deep"}})
    assert await lab.exec("user", "echo x > /own/file && cat /own/file") == "x\n"
    assert (server.exported / "part" / "deep" / "file").read_text() == "x\n"
    await lab.remove("user")
    assert not lab.mounts()


async def test_a_wrong_export_is_told_as_mount_tells_it(
    place: tuple[StorageLab, NfsServer],
) -> None:
    lab, _ = place
    await offer(lab, "far", {"server": ADDRESS, "path": "/nothing"}, mountOptions=["vers=4.2"])
    made = await lab.client.create(PODS, pod("waiting", claimed("far")), "default")
    target = lab.root / "pods" / made["metadata"]["uid"] / "volumes/kubernetes.io~nfs/volume-far"
    assert await told(lab, "waiting") == (
        'MountVolume.SetUp failed for volume "volume-far" : mount failed: exit status 32\n'
        "Mounting command: mount\n"
        f"Mounting arguments: -t nfs -o vers=4.2 {ADDRESS}:/nothing {target}\n"
        f"Output: mount.nfs: mounting {ADDRESS}:/nothing failed, "
        "reason given by server: No such file or directory\n"
    )
    await lab.remove("waiting")
    await withdraw(lab, "far")


async def test_a_kubelet_that_starts_anew_finds_and_ends_what_is_mounted(
    place: tuple[StorageLab, NfsServer],
) -> None:
    lab, _ = place
    await offer(lab, "kept")
    await lab.run("stays", claimed("kept"))
    await lab.run("goes", claimed("kept"), inline())
    assert len(lab.mounts()) == 3
    await lab.stop_kubelet()
    await lab.client.delete(PODS, "goes", "default", grace_period_seconds=0)
    await lab.start_kubelet()
    await until(lambda: len(lab.mounts()) == 1, "the mounts of the pod that is gone go")
    assert await lab.exec("stays", "echo on > /kept/file && cat /kept/file") == "on\n"
    await lab.remove("stays")
    assert not lab.mounts()
    await withdraw(lab, "kept")


async def test_a_server_that_does_not_answer_holds_up_nobody_else(
    place: tuple[StorageLab, NfsServer],
) -> None:
    lab, server = place
    await offer(lab, "silent")
    await lab.run("user", claimed("silent"))
    waiting = [f"waiting-{index}" for index in range(MANY)]
    with server.silent():
        for name in waiting:
            await lab.client.create(PODS, pod(name, inline()), "default")
        await until(lambda: mounting(lab) == MANY, "all wait for their volumes")
        await lab.run("another")
        assert await lab.exec("another", "echo alive") == "alive\n"
        summary = await lab.summary_of("user")
        assert not summary["volume"]
        await lab.remove("another", *waiting)
        assert not mounting(lab)

        # The one that has its volume goes too, and so it does with a kubelet that starts anew.
        await lab.stop_kubelet()
        await lab.start_kubelet()
        await lab.remove("user")
        assert not lab.mounts()
    await lab.run("user", claimed("silent"))
    assert await lab.exec("user", "echo again > /silent/file && cat /silent/file") == "again\n"
    await lab.remove("user")
    await withdraw(lab, "silent")


def mounting(lab: StorageLab) -> int:
    """How many calls of ``mount`` for pods of the node are under way."""
    return sum(
        line.startswith(b"mount\0") and str(lab.root).encode() in line
        for line in map(_command, Path("/proc").glob("[0-9]*"))
    )


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
