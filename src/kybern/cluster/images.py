"""``kybern image``: images for a cluster's nodes, without any registry.

``import`` gives archives (OCI layout or docker-archive tars) to every running real node,
``list`` shows what the nodes hold, ``build-rootfs`` makes an archive of a directory. Also called
by the demo and the cluster tests.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import click

from kybern.cluster import nodes
from kybern.cluster.nodes import Node, known_nodes
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.images import archive

BUSYBOX = Path("/bin/busybox")


@dataclass(frozen=True)
class HeldImage:
    """An image on a node; ``size`` in bytes."""

    node: str
    names: tuple[str, ...]
    id: str
    size: int


def running_nodes(data_dir: Path) -> list[Node]:
    """The real nodes that run; raises ClickException with what to do if there are none."""
    found = [node for node in known_nodes(data_dir) if nodes.running(node) is not None]
    if not found:
        raise click.ClickException(f"no real node runs for {data_dir}; 'kybern up' starts one")
    return found


async def import_everywhere(data_dir: Path, archives: list[bytes]) -> list[str]:
    """Import into every running node; returns the nodes' names. Raises archive.ImportFailed."""
    targets = running_nodes(data_dir)
    for data in archives:
        await asyncio.gather(*(archive.import_archive(str(node.socket), data) for node in targets))
    return [node.name for node in targets]


async def held_images(data_dir: Path) -> list[HeldImage]:
    """What the running nodes hold, node by node."""
    held: list[HeldImage] = []
    for node in running_nodes(data_dir):
        runtime = Runtime(str(node.socket))
        try:
            for image in await runtime.images():
                names = tuple(sorted(image.repo_tags)) or tuple(sorted(image.repo_digests))
                held.append(HeldImage(node.name, names, image.id, image.size))
        finally:
            await runtime.close()
    return sorted(held, key=lambda image: (image.node, image.names))


def build_rootfs(
    directory: Path, reference: str, command: list[str], busybox: bool, user: str = ""
) -> bytes:
    """An archive of a directory tree, on top of a static busybox and its applets if asked."""
    entries = archive.files_of(directory)
    if busybox:
        entries = [*archive.busybox_entries(BUSYBOX, _applets()), *entries]
    merged = {entry.path: entry for entry in entries}
    image = archive.Image(reference, list(merged.values()), entrypoint=command, user=user)
    return archive.build(image)


def _applets() -> list[str]:
    import subprocess

    if not BUSYBOX.exists():
        raise click.ClickException(f"{BUSYBOX} is missing (Debian: apt-get install busybox-static)")
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    return listed.stdout.split()
