"""The server as a process: its files, its certificates, and what TLS lets in."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import orjson
import pytest

from kybern.api.errors import Obj
from kybern.api.resources import NAMESPACES, SERVICES
from kybern.apiserver.config import Config
from kybern.apiserver.main import run
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Process:
    """A server in a data directory, run as ``kybern run apiserver`` runs it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready = asyncio.Event()
        config = Config(data_dir=str(self.directory), secure_port=0, bind_address="127.0.0.1")
        self._task = asyncio.create_task(run(config, Clock(), ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([self._task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def access(self) -> Access:
        return load_access(self.directory / "kubeconfig")


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    running = Process(tmp_path)
    await running.start()
    yield running
    await running.stop()


async def ask(
    process: Process, pair: pki.KeyPair | None, headers: Mapping[str, str] | None = None
) -> tuple[int, Obj]:
    """A SelfSubjectReview with other credentials: its status and body."""
    path = process.directory / "other.kubeconfig"
    credentials = {"certificate": pair.certificate_pem, "key": pair.key_pem} if pair else {}
    known = process.access
    write_kubeconfig(path, Access(known.server, known.ca, **credentials))
    client = Client.from_kubeconfig(path, Clock())
    try:
        response = await client.request("POST", SELF, body={}, headers=headers)
        return response.status, orjson.loads(response.body)
    finally:
        await client.close()


async def test_the_kubeconfig_is_the_administrators(process: Process) -> None:
    client = Client.from_kubeconfig(process.directory / "kubeconfig", Clock())
    try:
        assert len((await client.list(NAMESPACES))["items"]) == 4
        service = await client.get(SERVICES, "kubernetes", "default")
        assert service["spec"]["clusterIP"] == "10.96.0.1"
    finally:
        await client.close()


async def test_certificates_name_users(process: Process) -> None:
    directory = process.directory / "pki"
    authority = pki.load_or_create_authority(directory, "ca", "kubernetes", Clock())
    status, body = await ask(process, authority.issue_client("jane", ["devs"]))
    assert status == 201
    user = body["status"]["userInfo"]
    assert (user["username"], user["groups"]) == ("jane", ["devs", "system:authenticated"])


async def test_foreign_and_serving_certificates_are_answered_401(process: Process) -> None:
    directory = process.directory / "pki"
    authority = pki.load_or_create_authority(directory, "ca", "kubernetes", Clock())
    stranger = pki.CertificateAuthority.create("kubernetes", Clock())
    assert (await ask(process, stranger.issue_client("jane")))[0] == 401
    assert (await ask(process, authority.issue_server("jane", ["localhost"])))[0] == 401
    assert (await ask(process, None))[0] == 403


async def test_a_trusted_proxy_speaks_for_users_and_nobody_else_does(process: Process) -> None:
    directory = process.directory / "pki"
    proxies = pki.load_or_create_authority(directory, "front-proxy-ca", "front-proxy-ca", Clock())
    authority = pki.load_or_create_authority(directory, "ca", "kubernetes", Clock())
    headers = {"X-Remote-User": "jane", "X-Remote-Group": "ops, too", "X-Remote-Extra-Level": "2"}
    status, body = await ask(process, proxies.issue_client("front-proxy-client"), headers)
    assert status == 201
    assert body["status"]["userInfo"] == {
        "username": "jane",
        "groups": ["ops, too", "system:authenticated"],
        "extra": {"level": ["2"]},
    }
    assert (await ask(process, proxies.issue_client("front-proxy-client")))[0] == 401
    assert (await ask(process, proxies.issue_client("another"), headers))[0] == 401
    # Anybody else's headers count for nothing.
    status, body = await ask(process, authority.issue_client("bob"), headers)
    assert body["status"]["userInfo"]["username"] == "bob"


async def test_the_serving_certificate_stands_for_the_service(process: Process) -> None:
    certificate = pki.load_pair(process.directory / "pki", "apiserver").certificate
    hosts = pki.certificate_hosts(certificate)
    for host in ("localhost", "127.0.0.1", "10.96.0.1", "kubernetes.default.svc.cluster.local"):
        assert host in hosts
    ssl.create_default_context(cadata=process.access.ca.decode())


async def test_a_restart_keeps_identities_and_objects(tmp_path: Path) -> None:
    process = Process(tmp_path)
    await process.start()
    first = process.access
    await process.stop()
    await process.start()
    try:
        assert (process.access.ca, process.access.certificate) == (first.ca, first.certificate)
        pair = pki.KeyPair(first.certificate, first.key)
        assert (await ask(process, pair))[1]["status"]["userInfo"]["username"] == "kubernetes-admin"
    finally:
        await process.stop()
