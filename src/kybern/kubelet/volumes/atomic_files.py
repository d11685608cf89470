"""Writes a volume's files so that a reader sees all of the old ones or all of the new ones.

Files go into a fresh hidden directory; ``..data`` is a symlink that is then renamed over the old
one in a single step, and the visible names are symlinks through ``..data``, as upstream has it.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DATA = "..data"


@dataclass(frozen=True, slots=True)
class File:
    """One file's content and permission bits."""

    data: bytes
    mode: int
    owner: int = -1


Payload = Mapping[str, File]


def write(directory: Path, payload: Payload, group: int | None = None) -> bool:
    """Make ``directory`` show exactly the payload; False if it already did.

    Paths are relative and may have several parts. ``group`` is the pod's fsGroup, which may read
    every file. Blocks.
    """
    current = directory / DATA
    if _shows(current, payload):
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    try:
        fresh.chmod(0o755)
        for name, file in payload.items():
            _write_file(fresh / name, file, group)
        swap = directory / "..data_tmp"
        swap.unlink(missing_ok=True)
        swap.symlink_to(fresh.name)
        swap.rename(current)
    except OSError:
        # A disk that is full must not be filled by those who try again.
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link_visible(directory, payload)
    _remove_others(directory, fresh)
    return True


def is_filled(directory: Path) -> bool:
    """Whether a payload was written here, to its end."""
    return (directory / DATA).is_dir()


def _write_file(path: Path, file: File, group: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.data)
    mode = file.mode
    if group is not None:
        mode |= 0o440
        os.chown(path, file.owner, group)
    elif file.owner >= 0:
        os.chown(path, file.owner, -1)
    path.chmod(mode)


def _link_visible(directory: Path, payload: Payload) -> None:
    wanted = {name.split("/", 1)[0] for name in payload}
    for name in sorted(wanted):
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in os.scandir(directory):
        if not entry.name.startswith("..") and entry.name not in wanted:
            os.unlink(entry.path)


def _remove_others(directory: Path, current: Path) -> None:
    """Remove the files of before, and what somebody left who was killed while writing."""
    for path in directory.glob("..*"):
        if path != current and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _shows(current: Path, payload: Payload) -> bool:
    """Whether the files under ``..data`` are the payload already."""
    if not current.is_symlink():
        return False
    found = _files(current)
    if found.keys() != payload.keys():
        return False
    return all(path.read_bytes() == payload[name].data for name, path in found.items())


def _files(current: Path) -> dict[str, Path]:
    root = current.resolve()
    return {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
