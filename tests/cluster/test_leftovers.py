"""The assertion that nothing is left finds whatever can be left."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerd_lab import private_namespace
from leftovers import assert_nothing_left, traces
from network_lab import needs_root

from kybern.cluster.nodes import cgroup

pytestmark = needs_root


def _do(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def a_child(*command: str) -> Iterator[None]:
    """A process that says when it is done with its work, and ends when told."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"done\n"
        yield
    finally:
        child.communicate(b"\n")


@contextlib.contextmanager
def a_process(mark: str, directory: Path) -> Iterator[None]:
    yield from a_child(sys.executable, "-c", "print('done', flush=True); input()", mark)


@contextlib.contextmanager
def a_cgroup(mark: str, directory: Path) -> Iterator[None]:
    made = cgroup.hierarchies()[0] / f"kybern-{mark}"
    made.mkdir()
    try:
        yield
    finally:
        made.rmdir()


@contextlib.contextmanager
def a_mount(mark: str, directory: Path) -> Iterator[None]:
    made = directory / mark
    made.mkdir()
    _do("mount", "-t", "tmpfs", mark, made)
    try:
        yield
    finally:
        _do("umount", made)


@contextlib.contextmanager
def a_mount_of_others(mark: str, directory: Path) -> Iterator[None]:
    """A mount that only another process sees."""
    script = f"mount -t tmpfs none {directory} && echo done && read end"
    yield from a_child("unshare", "--mount", "--propagation", "private", "sh", "-c", script)


@contextlib.contextmanager
def a_namespace(mark: str, directory: Path) -> Iterator[None]:
    _do("ip", "netns", "add", mark)
    try:
        yield
    finally:
        _do("ip", "netns", "del", mark)


@contextlib.contextmanager
def a_loop(mark: str, directory: Path) -> Iterator[None]:
    image = directory / mark
    with image.open("wb") as opened:
        opened.truncate(1 << 20)
    device = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        yield
    finally:
        _do("losetup", "--detach", device)


@contextlib.contextmanager
def a_link(mark: str, directory: Path) -> Iterator[None]:
    _do("ip", "link", "add", "left0", "type", "veth", "peer", "name", "left1")
    try:
        yield
    finally:
        _do("ip", "link", "del", "left0")


@contextlib.contextmanager
def a_table(mark: str, directory: Path) -> Iterator[None]:
    _do("nft", "add", "table", "ip", "kybern")
    try:
        yield
    finally:
        _do("nft", "delete", "table", "ip", "kybern")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (a_process, "processes"),
        (a_cgroup, "cgroups"),
        (a_mount, "mounts"),
        (a_mount_of_others, "mounts"),
        (a_namespace, "namespaces"),
        (a_loop, "loops"),
        (a_link, "links"),
        (a_table, "tables"),
    ],
)
def test_what_is_left_is_found(make, kind: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    mark = f"mark-{tmp_path.parent.name}-{kind}"
    place = tmp_path / mark
    place.mkdir()
    with private_namespace():
        with make(mark, place):
            found = traces(mark)
            assert kind in found, found
            with pytest.raises(AssertionError):
                assert_nothing_left(mark)
        assert_nothing_left(mark)
