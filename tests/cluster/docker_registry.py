"""Debian's docker-registry on loopback, the protocol's reference, for one user with a password."""

import base64
import contextlib
import io
import json
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from containerd_lab import until

from running_cluster import free_port

PROGRAM = Path("/usr/bin/docker-registry")
USER, PASSWORD = "user", "pass"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
# bcrypt's of that password, the one form that docker-registry reads.
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K\n"
_CONFIGURATION = """
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {directory}/content}}}}
auth: {{htpasswd: {{realm: lab, path: {directory}/htpasswd}}}}
http: {{addr: "{address}"}}
"""

needs_docker_registry = pytest.mark.skipif(
    not PROGRAM.exists(), reason="Debian's docker-registry is not installed"
)


class DockerRegistry:
    """A running registry; ``address`` is how images name it."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address
        self._session = session

    async def push(self, name: str, archive: bytes) -> str:
        """Put an OCI archive's image there as ``name:1``; the manifest's digest."""
        blobs = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for member in files:
                content = files.extractfile(member)
                assert content is not None
                blobs[member.name.rpartition("/")[2]] = content.read()
        (listed,) = json.loads(blobs["index.json"])["manifests"]
        manifest = blobs[listed["digest"].partition(":")[2]]
        parts = json.loads(manifest)
        for part in (parts["config"], *parts["layers"]):
            await self._upload(name, part["digest"], blobs[part["digest"].partition(":")[2]])
        url = f"http://{self.address}/v2/{name}/manifests/1"
        kind = {"Content-Type": listed["mediaType"]}
        async with self._session.put(url, data=manifest, headers=kind) as answer:
            assert answer.status == 201, await answer.text()
        return str(listed["digest"])

    async def _upload(self, name: str, digest: str, blob: bytes) -> None:
        url = f"http://{self.address}/v2/{name}/blobs/uploads/"
        async with self._session.post(url) as answer:
            assert answer.status == 202, await answer.text()
            place = answer.headers["Location"]
        async with self._session.put(f"{place}&digest={digest}", data=io.BytesIO(blob)) as answer:
            assert answer.status == 201, await answer.text()

    async def answers(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(f"http://{self.address}/v2/") as answer:
                return answer.status == 200
        return False


@contextlib.asynccontextmanager
async def docker_registry(directory: Path) -> AsyncIterator[DockerRegistry]:
    """Run one in this thread's network namespace, with its files in ``directory``."""
    address = f"127.0.0.1:{free_port()}"
    file = directory / "registry.yml"
    file.write_text(_CONFIGURATION.format(directory=directory, address=address))
    (directory / "htpasswd").write_text(_HTPASSWD)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", file], stdout=log, stderr=log)
    try:
        async with aiohttp.ClientSession(headers=BASIC) as session:
            registry = DockerRegistry(address, session)
            await until(registry.answers, "the registry answers")
            yield registry
    finally:
        process.terminate()
        process.wait()
