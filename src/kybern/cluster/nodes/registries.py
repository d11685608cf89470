"""Where a node's containerd looks for images before it asks the registry that an image names.

``kybern up`` hands on what its user said, ``containerd.write`` calls :func:`write`. The files are
containerd's own, one ``hosts.toml`` a registry; https://github.com/containerd/containerd has their
reference in docs/hosts.md. containerd reads them at each pull and tries a host's mirrors in order,
then the registry itself.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

EVERY_REGISTRY = "*"
# containerd's name for the directory that serves all registries without one of their own.
_DEFAULT_DIRECTORY = "_default"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")


def parse(mirror: str) -> tuple[str, str]:
    """The registry and the mirror's URL out of ``HOST=URL``; raises ValueError."""
    host, _, url = mirror.partition("=")
    if host != EVERY_REGISTRY and not _HOST.fullmatch(host):
        raise ValueError(
            f"{mirror!r} is not of the form HOST=URL, as in docker.io=http://mirror.example:5000;"
            f" {EVERY_REGISTRY} stands for every registry"
        )
    parts = urlsplit(url)
    plain = not (set(url) & set('"\\') or any(character <= " " for character in url))
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError(f"{url!r} is not the http or https URL of a mirror")
    return host, url


def is_local(mirror: str) -> bool:
    """Whether the mirror is meant on loopback, where namespaced nodes find only themselves."""
    name = urlsplit(parse(mirror)[1]).hostname or ""
    return name == "localhost" or name.startswith("127.") or name == "::1"


def hosts_files(mirrors: Iterable[str]) -> dict[str, str]:
    """The text of each registry's ``hosts.toml`` by its directory's name."""
    files: dict[str, str] = {}
    for mirror in mirrors:
        host, url = parse(mirror)
        directory = _DEFAULT_DIRECTORY if host == EVERY_REGISTRY else host
        table = f'[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
        files[directory] = files.get(directory, "") + table
    return files


def write(directory: Path, mirrors: Iterable[str]) -> None:
    """Make the directory say exactly these mirrors."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for host, text in hosts_files(mirrors).items():
        (directory / host).mkdir()
        (directory / host / "hosts.toml").write_text(text)
