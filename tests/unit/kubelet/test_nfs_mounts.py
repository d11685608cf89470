"""How NFS volumes are mounted by a node whose ``mount`` is a script of the test's."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet.volumes.nfs import NfsVolumes
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import Use

TARGET = Path("/pods/u/volumes/kubernetes.io~nfs/data")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``mount`` does; it can write to ``$ASKED``."""
    found = tmp_path / "mount"
    found.write_text('#!/bin/sh\necho "$@" > $ASKED\n')
    found.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return found


def use(server: str = "host", **fields: Any) -> Use:
    return Use({}, "data", {"server": server, "path": "/exports/a"}, **fields)


@pytest.mark.parametrize(
    ("wanted", "arguments"),
    [
        (use(), f"-t nfs host:/exports/a {TARGET}"),
        (use("fd00::1"), f"-t nfs [fd00::1]:/exports/a {TARGET}"),
        (use(read_only=True), f"-t nfs -o ro host:/exports/a {TARGET}"),
        (
            use(read_only=True, mount_options=("vers=4.1", "hard", "ro")),
            f"-t nfs -o hard,ro,vers=4.1 host:/exports/a {TARGET}",
        ),
    ],
)
async def test_mount_is_told_what_and_how(script: Path, wanted: Use, arguments: str) -> None:
    await NfsVolumes().mount(wanted, TARGET)
    assert script.with_name("asked").read_text().strip() == arguments


async def test_a_failure_is_told_as_mount_tells_it(script: Path) -> None:
    script.write_text("#!/bin/sh\necho mount.nfs: access denied >&2\nexit 32\n")
    with pytest.raises(VolumeError) as failure:
        await NfsVolumes().mount(use(), TARGET)
    assert str(failure.value) == (
        "mount failed: exit status 32\nMounting command: mount\n"
        f"Mounting arguments: -t nfs host:/exports/a {TARGET}\nOutput: mount.nfs: access denied\n"
    )


async def test_a_mount_that_nobody_needs_any_more_ends_with_its_helper(script: Path) -> None:
    helper = script.with_name("helper")
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {helper}\nwait\n")
    volumes = NfsVolumes()
    mounting = asyncio.create_task(volumes.mount(use(), TARGET))
    async with asyncio.timeout(60):
        while not helper.exists() or not helper.read_text().strip():
            await asyncio.sleep(0.01)
        volumes.hurry(TARGET)
        with pytest.raises(VolumeError):
            await mounting
    state = Path(f"/proc/{helper.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
    volumes.hurry(TARGET)
