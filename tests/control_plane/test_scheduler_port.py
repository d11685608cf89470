"""The scheduler's HTTPS port: health for all, the rest for whom the API server allows it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kybern.api.resources import CLUSTER_ROLE_BINDINGS, SERVICE_ACCOUNTS
from kybern.client import LeaderElector
from kybern.scheduler.config import Config
from kybern.scheduler.configuration import Settings, as_document
from kybern.scheduler.metrics import Metrics
from kybern.scheduler.serving import Observed, serving
from kybern.testing import Cluster

Answer = tuple[int, str]


class Counting:
    """A scheduler that only counts."""

    def __init__(self) -> None:
        self.metrics = Metrics({})
        self.synced = True

    def is_synced(self) -> bool:
        return self.synced

    def pods(self) -> list[Any]:
        asked = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
        spec = {"containers": [{"name": "c", "resources": asked}], "nodeName": "n", "priority": 7}
        return [{"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}]


class Elector(LeaderElector):
    """One whose Lease is over for as long as the test says."""

    late = 0.0

    def overdue(self) -> float:
        return self.late


class Port:
    """An open port with a scheduler behind it that only counts."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.observed = Observed(as_document(Settings(), True))
        self.scheduler = self.observed.scheduler = Counting()
        self.number = 0

    def opened(self, number: int) -> None:
        self.number = number

    async def get(self, path: str, token: str = "") -> Answer:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"https://127.0.0.1:{self.number}{path}", headers=headers, ssl=context
            ) as answer,
        ):
            return answer.status, await answer.text()

    async def token(self, name: str, role: str = "system:monitoring") -> str:
        """The token of a service account that may see what this role may."""
        client = self.cluster.client
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": name}}, "default")
        group = "rbac.authorization.k8s.io"
        binding: Any = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        }
        await client.create(CLUSTER_ROLE_BINDINGS, binding)
        request: Any = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        made = await client.create(
            SERVICE_ACCOUNTS, {**request, "spec": {}}, "default", name=name, subresource="token"
        )
        token: str = made["status"]["token"]
        return token


@pytest.fixture
async def port(kybern_cluster: Cluster) -> AsyncIterator[Port]:
    found = Port(kybern_cluster)
    config = Config(bind_address="127.0.0.1")
    client = kybern_cluster.client
    async with serving(found.observed, client, kybern_cluster.clock, config, found.opened):
        yield found


async def test_health_is_for_everybody(port: Port) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert await port.get(path) == (200, "ok")
    verbose = "[+]shutdown ok\n[+]sched-handler-sync ok\nreadyz check passed\n"
    assert await port.get("/readyz?verbose") == (200, verbose)
    ping = "[+]ping ok\nlivez check passed\n"
    assert await port.get("/livez?verbose") == (200, ping)
    port.scheduler.synced = False
    status, text = await port.get("/readyz")
    assert status == 500
    assert "[-]sched-handler-sync failed: reason withheld\nreadyz check failed\n" in text
    assert (await port.get("/livez"))[0] == 200
    assert (await port.get("/readyz/sched-handler-sync"))[0] == 500
    assert (await port.get("/readyz/nothing"))[0] == 404


async def test_a_leader_whose_lease_is_long_over_is_not_healthy(port: Port) -> None:
    cluster = port.cluster
    elector = port.observed.elector = Elector(cluster.client, cluster.clock, "lease", "me")
    elected = "[+]leaderElection ok\nhealthz check passed\n"
    assert await port.get("/healthz?verbose") == (200, elected)
    elector.late = 30.0
    assert (await port.get("/healthz/leaderElection"))[0] == 500


async def test_the_rest_is_for_whom_the_api_server_allows_it(port: Port) -> None:
    status, text = await port.get("/metrics")
    assert status == 403
    assert text == 'forbidden: User "system:anonymous" cannot get path "/metrics"\n'
    assert (await port.get("/metrics", "no-token"))[0] == 401
    token = await port.token("watcher")
    status, text = await port.get("/metrics", token)
    assert status == 200 and "scheduler_preemption_attempts_total" in text
    # Monitoring may not read the configuration.
    assert (await port.get("/configz", token))[0] == 403


async def test_administrators_see_pods_indicators_and_flags(port: Port) -> None:
    token = await port.token("admin", "cluster-admin")
    _, text = await port.get("/metrics/resources", token)
    labels = 'namespace="shop",pod="web",node="n",scheduler="default-scheduler",priority="7"'
    assert f'kube_pod_resource_request{{{labels},resource="cpu",unit="cores"}} 0.5' in text
    limit = f'kube_pod_resource_limit{{{labels},resource="memory",unit="bytes"}} 1073741824'
    assert limit in text
    await port.get("/readyz")
    _, text = await port.get("/metrics/slis", token)
    assert 'kubernetes_healthcheck{name="sched-handler-sync",type="readyz"} 1' in text
    status, text = await port.get("/configz", token)
    assert status == 200 and text.startswith('{"componentconfig":{')
    for path in ("/flagz", "/statusz"):
        assert (await port.get(path, token))[0] == 200


@pytest.mark.virtual_time
async def test_nothing_is_served_without_a_port(kybern_cluster: Cluster) -> None:
    observed = Observed({})
    tasks = asyncio.all_tasks()
    async with serving(observed, kybern_cluster.client, kybern_cluster.clock, Config()):
        assert asyncio.all_tasks() == tasks
