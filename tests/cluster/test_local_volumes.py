"""The built-in storage class on a real node: data that stays, capacity that holds, and no trace."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from storage_lab import StorageLab, claimed, open_storage_lab, pod

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STATEFUL_SETS,
    STORAGE_CLASSES,
)
from kybern.kubelet.volumes import mounting

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

_CAP_SYS_RESOURCE = 24
ENFORCED = {
    "metadata": {"name": "exact"},
    "provisioner": "kybern.io/local-path",
    "parameters": {"capacity": "enforced"},
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[StorageLab]:
    async with open_storage_lab() as opened:
        await opened.client.create(STORAGE_CLASSES, ENFORCED)
        yield opened


def may_grow_mounted() -> bool:
    """Whether this process has CAP_SYS_RESOURCE; without it file systems grow between pods."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(line for line in lines if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)


async def test_a_stateful_set_keeps_its_data_over_its_pods(lab: StorageLab) -> None:
    keep = "echo $HOSTNAME >> /data/starts; "
    container = shell(keep + STAY, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    template = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    stateful_set = {
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "replicas": 2,
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
            "volumeClaimTemplates": [template],
        },
    }
    await lab.client.create(STATEFUL_SETS, stateful_set, "default")
    first = await lab.ready("db-0")
    await lab.ready("db-1")
    claim = await lab.client.get(PERSISTENT_VOLUME_CLAIMS, "data-db-0", "default")
    assert claim["spec"]["storageClassName"] == "local-path"
    volume = await lab.client.get(PERSISTENT_VOLUMES, claim["spec"]["volumeName"])
    path = lab.volumes / objects.name(volume)
    assert volume["spec"]["local"] == {"path": str(path)}
    await lab.client.delete(PODS, "db-0", "default")
    await lab.cluster.wait_for(
        PODS, "db-0", lambda o: objects.uid(o) != objects.uid(first) and objects.is_pod_ready(o)
    )
    assert (path / "starts").read_text() == "db-0\ndb-0\n"
    await lab.client.delete(STATEFUL_SETS, "db", "default")
    for name in ("db-0", "db-1"):
        await lab.cluster.wait_gone(PODS, name)
    assert (path / "starts").exists()
    await lab.remove_claims("data-db-0", "data-db-1")
    assert not path.exists()


async def test_capacity_holds_and_grows(lab: StorageLab) -> None:
    await lab.claim("exact", "16Mi", storageClassName="exact")
    await lab.run("user", claimed("exact"))
    said = await lab.exec("user", "dd if=/dev/zero of=/exact/big bs=1M count=32")
    assert "No space left on device" in said
    await lab.ask_for("exact", "48Mi")
    if not may_grow_mounted():
        await lab.remove("user")
        await lab.run("user", claimed("exact"))
    grown = await lab.until_grown("user", "exact", "48Mi")
    assert not objects.conditions(grown)
    said = await lab.exec("user", "dd if=/dev/zero of=/exact/big bs=1M count=32 && echo written")
    assert "written" in said
    await lab.remove("user")
    assert not lab.mounts() and not lab.loops()
    await lab.remove_claims("exact")


async def test_a_claim_for_more_than_the_disk_has_is_told_so(lab: StorageLab) -> None:
    await lab.claim("huge", "9Pi", storageClassName="exact")
    await lab.client.create(PODS, pod("waiting", claimed("huge")), "default")

    async def told() -> list[str]:
        found, _ = await lab.client.list_all(
            EVENTS, field_selector="involvedObject.name=huge,reason=ProvisioningFailed"
        )
        return [event["message"] for event in found]

    for text in await until(told, "the failure is told"):
        assert text.startswith('failed to provision volume with StorageClass "exact": ')
    await lab.remove("waiting")
    await lab.remove_claims("huge")


async def test_a_block_volume_is_a_device_that_keeps_what_is_written(lab: StorageLab) -> None:
    await lab.claim("raw", "4Mi", volumeMode="Block")
    await lab.run("writer", claimed("raw", device=True))
    await lab.exec("writer", "printf kept | dd of=/dev/raw bs=4 seek=1000 conv=fsync")
    assert await lab.exec("writer", "blockdev --getsize64 /dev/raw") == f"{4 << 20}\n"
    await lab.ask_for("raw", "8Mi")
    await lab.until_grown("writer", "raw", "8Mi")
    assert await lab.exec("writer", "blockdev --getsize64 /dev/raw") == f"{8 << 20}\n"
    await lab.remove("writer")
    assert not lab.loops()
    await lab.run("reader", claimed("raw", device=True))
    assert await lab.exec("reader", "dd if=/dev/raw bs=4 skip=1000 count=1 2>/dev/null") == "kept"
    await lab.remove("reader")
    await lab.remove_claims("raw")


async def test_the_pods_group_owns_its_volume(lab: StorageLab) -> None:
    await lab.claim("shared", "8Mi", storageClassName="exact")
    context = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}
    await lab.run("user", claimed("shared"), securityContext=context)
    said = await lab.exec("user", "echo mine > /shared/file && stat -c '%u %g' /shared/file")
    assert said == "1000 2000\n"
    await lab.remove("user")
    await lab.remove_claims("shared")


async def test_two_pods_share_a_volume_by_parts_and_one_may_only_read(lab: StorageLab) -> None:
    await lab.claim("parts")
    await lab.run("writer", claimed("parts", subPath="inner"), script="echo hi > /parts/file; ")
    reading = claimed("parts")
    reading["persistentVolumeClaim"]["readOnly"] = True
    await lab.run("reader", reading)
    assert await lab.exec("reader", "cat /parts/inner/file") == "hi\n"
    assert "Read-only file system" in await lab.exec("reader", "touch /parts/other")
    await lab.remove("writer", "reader")
    await lab.remove_claims("parts")


async def test_an_ephemeral_claim_lives_as_long_as_its_pod(lab: StorageLab) -> None:
    template = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        }
    }
    await lab.run("user", {"name": "own", "ephemeral": {"volumeClaimTemplate": template}})
    assert await lab.exec("user", "echo x > /own/file && cat /own/file") == "x\n"
    await lab.remove("user")
    await lab.cluster.wait_gone(PERSISTENT_VOLUME_CLAIMS, "user-own")


async def test_a_kubelet_that_starts_anew_finds_and_ends_what_is_mounted(lab: StorageLab) -> None:
    for name, spec in (
        ("files", {"storageClassName": "exact"}),
        ("raw", {"volumeMode": "Block"}),
        ("plain", {}),
    ):
        await lab.claim(name, "8Mi", **spec)
    volumes = (claimed("files"), claimed("raw", device=True), claimed("plain"))
    await lab.run("stays", *volumes)
    await lab.run("goes", *volumes)
    before = lab.mounts()
    assert len(before) == 5 and len(lab.loops()) == 2
    await lab.stop_kubelet()
    await lab.client.delete(PODS, "goes", "default", grace_period_seconds=0)
    await lab.start_kubelet()
    await until(lambda: len(lab.mounts()) == 3, "the mounts of the pod that is gone go")
    assert len(lab.loops()) == 2
    assert await lab.exec("stays", "echo on > /files/file && cat /files/file") == "on\n"
    await lab.remove("stays")
    await until(lambda: not lab.mounts() and not lab.loops(), "all are gone")
    await lab.remove_claims("files", "raw", "plain")


async def test_what_a_kubelet_left_half_undone_is_undone_by_the_next(lab: StorageLab) -> None:
    await lab.claim("half", "8Mi", storageClassName="exact")
    await lab.run("user", claimed("half"))
    await lab.stop_kubelet()
    await lab.client.delete(PODS, "user", "default", grace_period_seconds=0)
    place = next(Path(point) for point in lab.mounts() if "/pods/" in point)
    mounting.take_away(place)
    assert len(lab.mounts()) == 1
    await lab.start_kubelet()
    await until(lambda: not lab.mounts() and not lab.loops(), "the volume is given back")
    await lab.remove_claims("half")


async def test_a_volume_that_the_node_cannot_mount_is_told_of(lab: StorageLab) -> None:
    server = {"server": "127.0.0.1", "path": "/nothing"}
    volume: Obj = {
        "metadata": {"name": "elsewhere"},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteMany"],
            "nfs": server,
            # Where there is NFS, mount asks again and again.
            "mountOptions": ["retry=0"],
        },
    }
    await lab.client.create(PERSISTENT_VOLUMES, volume)
    await lab.claim(
        "far", accessModes=["ReadWriteMany"], storageClassName="", volumeName="elsewhere"
    )
    await lab.client.create(PODS, pod("waiting", claimed("far")), "default")

    async def told() -> list[str]:
        found, _ = await lab.client.list_all(
            EVENTS, field_selector="involvedObject.name=waiting,reason=FailedMount"
        )
        return [event["message"] for event in found]

    messages = await until(told, "the failure is told")
    assert messages[0].startswith('MountVolume.SetUp failed for volume "elsewhere" : ')
    await lab.remove("waiting")
    await lab.remove_claims("far")
