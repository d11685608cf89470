"""Files: atomic volumes, sub paths, log reading, termination logs."""

import os
from pathlib import Path
from typing import Any

import pytest

from kybern.api.errors import StatusError
from kybern.component.clock import Clock
from kybern.kubelet.cri.state import tail_of_log
from kybern.kubelet.server.logs import LogOptions, parse_options, read_log
from kybern.kubelet.volumes.atomic_files import File, write
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.subpaths import open_within


def test_a_volume_changes_in_one_step_and_only_if_it_has_to(tmp_path: Path) -> None:
    first = {"a": File(b"1", 0o644), "dir/b": File(b"2", 0o400)}
    assert write(tmp_path, first)
    before = os.readlink(tmp_path / "..data")
    assert not write(tmp_path, first)
    assert os.readlink(tmp_path / "..data") == before
    assert (tmp_path / "dir/b").stat().st_mode & 0o777 == 0o400
    assert write(tmp_path, {"a": File(b"new", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == [
        "a"
    ]
    assert (
        len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 1
    )


def test_a_half_written_update_is_overtaken_by_the_next(tmp_path: Path) -> None:
    write(tmp_path, {"a": File(b"1", 0o644)})
    (tmp_path / "..data_tmp").symlink_to("nowhere")
    assert write(tmp_path, {"a": File(b"2", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"2"


def test_sub_paths_stay_inside_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    volume.mkdir(mode=0o711)
    (volume / "out").symlink_to(tmp_path)
    (volume / "within").symlink_to("a")
    for good in ("a/b", "within/b"):
        descriptor = open_within(volume, good)
        assert os.readlink(f"/proc/self/fd/{descriptor}") == str(volume / "a/b")
        os.close(descriptor)
    assert (volume / "a/b").stat().st_mode & 0o777 == volume.stat().st_mode & 0o777
    for bad in ("out", "out/x", "../x", "/etc"):
        with pytest.raises(VolumeError):
            open_within(volume, bad)


def test_a_directory_that_becomes_a_symlink_on_the_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v" / "a" / "b").mkdir(parents=True)
    (tmp_path / "secret" / "b").mkdir(parents=True)
    real = os.open

    def swapping(path: Any, *rest: Any, **options: Any) -> int:
        if path == "a":
            (tmp_path / "v" / "a").rename(tmp_path / "v" / "old")
            (tmp_path / "v" / "a").symlink_to(tmp_path / "secret")
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(VolumeError, match="became a symlink"):
        open_within(tmp_path / "v", "a/b")


LOG = (
    b"2026-01-01T00:00:01.000000001Z stdout F one\n"
    b"2026-01-01T00:00:02.000000001Z stderr F two\n"
    b"2026-01-01T00:00:03.000000001Z stdout P thr\n"
    b"2026-01-01T00:00:03.000000002Z stdout F ee\n"
)


async def _never() -> bool:
    return False


async def _read(path: Path, options: LogOptions) -> bytes:
    return b"".join([chunk async for chunk in read_log(path, options, _never)])


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (LogOptions(), b"one\ntwo\nthree\n"),
        (LogOptions(tail=2), b"three\n"),
        (LogOptions(tail=0), b""),
        (LogOptions(tail=99), b"one\ntwo\nthree\n"),
        (LogOptions(limit_bytes=5), b"one\nt"),
        (LogOptions(stream="Stderr"), b"two\n"),
        (LogOptions(since=1767225602.0), b"two\nthree\n"),
        (LogOptions(timestamps=True, tail=1), b"2026-01-01T00:00:03.000000002Z ee\n"),
        (LogOptions(follow=True), b"one\ntwo\nthree\n"),
    ],
)
async def test_logs_show_what_was_asked_for(
    tmp_path: Path, options: LogOptions, shown: bytes
) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    assert await _read(path, options) == shown


async def test_a_followed_log_grows_and_survives_rotation(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"2026-01-01T00:00:01Z stdout F one\n")
    steps = iter(range(3))

    async def running() -> bool:
        match next(steps):
            case 0:
                with path.open("ab") as file:
                    file.write(b"2026-01-01T00:00:02Z stdout F two\n")
                return True
            case 1:
                path.rename(tmp_path / "0.log.old")
                path.write_bytes(b"2026-01-01T00:00:03Z stdout F three\n")
                return True
        return False

    chunks = [chunk async for chunk in read_log(path, LogOptions(follow=True), running)]
    assert b"".join(chunks) == b"one\ntwo\nthree\n"


def test_the_tail_of_a_log_is_a_termination_message(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(b"2026-01-01T00:00:01Z stdout F %d\n" % n for n in range(500)))
    lines = tail_of_log(path).splitlines()
    assert lines[-1] == "499"
    assert len(lines) == 80
    with path.open("ab") as log:
        log.write(b"2026-01-01T00:00:02Z stdout P no end of line\n")
    assert tail_of_log(path).endswith("499\nno end of line")
    assert tail_of_log(tmp_path / "none") == ""


def test_bad_log_options_are_refused() -> None:
    for name, value in (("tailLines", "-1"), ("limitBytes", "x"), ("sinceTime", "yesterday")):
        with pytest.raises(StatusError) as failure:
            parse_options({name: [value]}, Clock())
        assert failure.value.code == 400
