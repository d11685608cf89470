"""Builds container images from files: an OCI layout in a tar, by the standard library alone.

``kybern image import``, the demo and tests make their images here; :func:`import_archive` hands the
tar to containerd. The same files give the same bytes, so an image's digest says what is in it.
"""

import asyncio
import hashlib
import io
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


class ImportFailed(Exception):
    """containerd refused the archive; the text is its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a root file system (no leading slash): a file, a symlink or a directory."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""
    directory: bool = False
    uid: int = 0
    gid: int = 0


@dataclass(slots=True)
class Image:
    """An image of one layer; ``reference`` is its full name, as ``registry/name:tag``."""

    reference: str
    entries: Sequence[Entry]
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: list[str] = field(
        default_factory=lambda: [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]
    )
    user: str = ""
    working_directory: str = "/"
    architecture: str = ""


def files_of(directory: Path) -> list[Entry]:
    """A directory tree as entries, in a stable order; ownership becomes root's."""
    entries = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            entries.append(Entry(name, link=str(path.readlink())))
        elif path.is_dir():
            entries.append(Entry(name, mode=path.stat().st_mode & 0o7777, directory=True))
        elif path.is_file():
            entries.append(Entry(name, path.read_bytes(), path.stat().st_mode & 0o7777))
    return entries


def busybox_entries(binary: Path, applets: Sequence[str]) -> list[Entry]:
    """A usable root file system around one static busybox: links for its applets, /etc, /tmp."""
    links = [Entry(f"bin/{name}", link="busybox") for name in applets if name != "busybox"]
    return [
        *(Entry(name, mode=0o755, directory=True) for name in ("bin", "etc", "proc", "sys", "dev")),
        Entry("tmp", mode=0o1777, directory=True),
        Entry("root", mode=0o700, directory=True),
        Entry("bin/busybox", binary.read_bytes(), 0o755),
        *links,
        Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
        Entry("etc/group", b"root:x:0:\nnobody:x:65534:\n"),
    ]


def build(image: Image) -> bytes:
    """The image as the bytes of an OCI archive."""
    layer = _layer(image.entries)
    config = orjson.dumps(_config(image, layer))
    manifest = orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    listed = _descriptor(_MANIFEST, manifest)
    listed["annotations"] = {
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
    }
    files = {
        "oci-layout": orjson.dumps({"imageLayoutVersion": "1.0.0"}),
        "index.json": orjson.dumps({"schemaVersion": 2, "manifests": [listed]}),
    }
    for blob in (layer, config, manifest):
        files["blobs/sha256/" + hashlib.sha256(blob).hexdigest()] = blob
    return _layer([Entry(name, data) for name, data in files.items()])


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    return {"mediaType": media_type, "digest": digest, "size": len(blob)}


def _config(image: Image, layer: bytes) -> dict[str, object]:
    process = {
        "Env": image.environment,
        "Entrypoint": image.entrypoint,
        "Cmd": image.command,
        "WorkingDir": image.working_directory,
        "User": image.user,
    }
    return {
        "architecture": image.architecture or _ARCHITECTURES.get(platform.machine(), "amd64"),
        "os": "linux",
        "config": {key: value for key, value in process.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [_descriptor(_LAYER, layer)["digest"]]},
    }


def _layer(entries: Sequence[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
            if entry.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
            elif entry.directory:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data) if info.isreg() else None)
    return buffer.getvalue()


async def import_archive(socket: str, archive: bytes, ctr: str = "ctr") -> None:
    """Give an archive to the containerd behind ``socket``, for Kubernetes to use.

    containerd's own client does it: releases before 2.0 have no single call for an import.
    """
    address = socket.removeprefix("unix://")
    process = await asyncio.create_subprocess_exec(
        *(ctr, "--address", address, "--namespace", "k8s.io", "images", "import", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate(archive)
    if process.returncode:
        raise ImportFailed(errors.decode(errors="replace").strip())
