"""A node joins over TLS: from a bootstrap kubeconfig to certificates that change while it works."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from certificate_lab import TOKEN, let_nodes_join, requested, signing
from kybern.api.errors import StatusError
from kybern.api.resources import NODES
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.client import ApiUnreachable, Client
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig
from kybern.kubelet.certificates.client import connect, prepare_client_certificate
from kybern.kubelet.config import Config
from kybern.testing import Cluster

NODE = "system:node:n1"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    config = ApiServerConfig(enable_bootstrap_token_auth=True)
    async with (
        Cluster(nodes=0, controllers=False, scheduler=False, api_server=config, serve=True) as made,
        signing(made, made.kubeconfig.parent / "pki"),
    ):
        await let_nodes_join(made.client)
        yield made


@pytest.fixture
def config(cluster: Cluster, tmp_path: Path) -> Config:
    """A kubelet's flags: it has a token, and knows the server and its CA."""
    known = load_access(cluster.kubeconfig)
    write_kubeconfig(tmp_path / "bootstrap", Access(known.server, known.ca, token=TOKEN))
    return Config(
        root_dir=str(tmp_path / "kubelet"), bootstrap_kubeconfig=str(tmp_path / "bootstrap")
    )


async def whoami(client: Client) -> str:
    answer = await client.request("POST", SELF, body={})
    return answer.json()["status"]["userInfo"]["username"] if answer.status == 201 else ""


async def test_a_node_joins_with_a_token_and_comes_back_without_it(
    cluster: Cluster, config: Config, tmp_path: Path
) -> None:
    kubeconfig = str(tmp_path / "kubelet" / "kubeconfig")
    client = connect(kubeconfig, cluster.clock, config)
    async with asyncio.timeout(30):
        assert await prepare_client_certificate(client, cluster.clock, config, "n1") is None
    assert await whoami(client) == NODE
    await client.close()

    Path(config.bootstrap_kubeconfig).unlink()
    again = connect(kubeconfig, cluster.clock, config)
    assert await prepare_client_certificate(again, cluster.clock, config, "n1") is None
    assert await whoami(again) == NODE
    await again.close()
    assert len(await requested(cluster.client)) == 1


async def test_a_rotation_cuts_watches_and_the_client_goes_on(
    cluster: Cluster, config: Config, tmp_path: Path
) -> None:
    rotating = replace(config, rotate_certificates=True)
    client = connect(str(tmp_path / "kubeconfig"), cluster.clock, rotating)
    manager = await prepare_client_certificate(client, cluster.clock, rotating, "n1")
    assert manager is not None
    assert await whoami(client) != NODE
    async with asyncio.timeout(30):
        await manager.renew()
    assert await whoami(client) == NODE
    first = manager.current

    opened = asyncio.Event()

    async def watch() -> None:
        selector = "metadata.name=n1"
        events = client.watch(NODES, field_selector=selector, send_initial_events=True)
        async for _ in events:
            opened.set()

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(30):
        await opened.wait()
        await manager.renew()
    with pytest.raises(ApiUnreachable):
        await watching
    assert manager.current != first
    assert await whoami(client) == NODE
    with pytest.raises(StatusError) as refused:
        await client.get(NODES, "n1")
    assert refused.value.code == 404
    await client.close()


async def test_wiped_certificates_are_asked_for_again(
    cluster: Cluster, config: Config, tmp_path: Path
) -> None:
    kubeconfig = str(tmp_path / "kubeconfig")
    for _ in range(2):
        client = connect(kubeconfig, cluster.clock, config)
        async with asyncio.timeout(30):
            await prepare_client_certificate(client, cluster.clock, config, "n1")
        assert await whoami(client) == NODE
        await client.close()
        (config.certificates / "kubelet-client-current.pem").unlink()
    made = [one["spec"]["username"] for one in await requested(cluster.client)]
    assert made == ["system:bootstrap:abcdef"] * 2
