"""File systems on devices and image files: made on first use, checked, mounted, grown.

The node's own tools do it (util-linux, e2fsprogs), as on every kubelet. All calls block.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kybern.kubelet.volumes.payloads import VolumeError

DEFAULT_TYPE = "ext4"
_NOTHING_FOUND = 2
_FSCK_REPAIRED, _FSCK_UNCORRECTED = 1, 4


def run(*command: str | Path, allowed: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
    """Run a tool; raises VolumeError with what it said if it fails or is not there."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise VolumeError(f"{command[0]}: command not found on the node") from None
    if done.returncode not in allowed:
        said = (done.stderr or done.stdout).strip()
        raise VolumeError(f"{command[0]} failed: exit status {done.returncode}: {said}")
    return done


def type_of(device: Path) -> str:
    """The type of the file system on a device, empty if there is nothing at all on it."""
    done = run("blkid", "-p", "-o", "export", device, allowed=(0, _NOTHING_FOUND))
    if done.returncode == _NOTHING_FOUND:
        return ""
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    # A partition table is something, too: it must not be written over.
    return found.get("TYPE") or found.get("PTTYPE") or "unknown data"


def prepare(device: Path, wanted: str, *, read_only: bool) -> None:
    """Make the wanted file system if the device is empty; else check the one that is there."""
    wanted = wanted or DEFAULT_TYPE
    found = type_of(device)
    if not found:
        if read_only:
            raise VolumeError(f"cannot mount unformatted disk {device} as we are manipulating it")
        # Blocks that were reserved for an image stay reserved.
        options = ("-F", "-m0", "-E", "nodiscard") if wanted.startswith("ext") else ()
        run(f"mkfs.{wanted}", *options, device)
        return
    if not found.startswith("ext") or read_only:
        return
    done = run("fsck", "-a", device, allowed=range(256))
    if done.returncode == _FSCK_UNCORRECTED:
        said = (done.stdout + done.stderr).strip()
        raise VolumeError(
            f"'fsck' found errors on device {device} but could not correct them: {said}"
        )
    if found.startswith("ext") and _used_size(device) < _size(device):
        _fill(device)


def _size(device: Path) -> int:
    with device.open("rb") as opened:
        return opened.seek(0, os.SEEK_END)


def _used_size(device: Path) -> int:
    """How much of a device its ext file system takes, in bytes."""
    lines = run("dumpe2fs", "-h", device).stdout.splitlines()
    facts = dict(line.partition(":")[::2] for line in lines)
    return int(facts["Block count"]) * int(facts["Block size"])


def _fill(device: Path) -> None:
    """Let a file system that is not mounted take all of its device."""
    run("e2fsck", "-f", "-p", device, allowed=(0, _FSCK_REPAIRED))
    run("resize2fs", device)


def mount(source: str | Path, target: Path, kind: str = "", options: Sequence[str] = ()) -> None:
    """Mount by the node's ``mount``, which knows helpers, loop devices and all options."""
    arguments = mount_arguments(source, target, kind, options)
    done = run("mount", *arguments, allowed=range(256))
    if done.returncode:
        raise mount_failed(arguments, done.returncode, done.stdout + done.stderr)


def mount_arguments(
    source: str | Path, target: Path, kind: str, options: Sequence[str]
) -> tuple[str, ...]:
    """What ``mount`` is told."""
    chosen = (*(("-t", kind) if kind else ()), *(("-o", ",".join(options)) if options else ()))
    return (*chosen, str(source), str(target))


def mount_failed(arguments: Sequence[str], status: int, said: str) -> VolumeError:
    """How a mount that failed is told."""
    told = f"Mounting command: mount\nMounting arguments: {' '.join(arguments)}\nOutput: {said}"
    return VolumeError(f"mount failed: exit status {status}\n{told}")


def grow(target: Path) -> None:
    """Let a mounted file system take all of its device, which has become larger.

    The kernel allows that to CAP_SYS_RESOURCE only; without it, it is done at the next mount.
    """
    where = run("findmnt", "-n", "-o", "SOURCE,FSTYPE", "--mountpoint", target).stdout.split()
    device, kind = where[0], where[1]
    if device.startswith("/dev/loop"):
        run("losetup", "--set-capacity", device)
    if kind.startswith("ext"):
        run("resize2fs", device)
    elif kind == "xfs":
        run("xfs_growfs", target)
    elif kind == "btrfs":
        run("btrfs", "filesystem", "resize", "max", target)
    else:
        raise VolumeError(f"resize of format {kind} is not supported for device {device}")
