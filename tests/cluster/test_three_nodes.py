"""``kybern up --nodes 3``: what its user gets, what it survives, and that nothing is left of it.

One cluster serves the whole module; the tests go from the peaceful to the violent, and the last
one takes the cluster down.
"""

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from image_registry import Registry
from network_lab import needs_root
from three_nodes import (
    MIRROR,
    MIRRORED,
    NODES,
    agent_of,
    containerd_of,
    interpreter_volumes,
    make_services,
    nodes_of,
    output_of,
    pod,
    processes,
    three_nodes,
    traces,
    web,
)

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import DEPLOYMENTS, PODS, ROLE_BINDINGS, SERVICES
from kybern.api.resources import NODES as NODE_OBJECTS
from kybern.client import Client
from kybern.cluster.images import build_rootfs
from kybern.cluster.nodes.containerd import find_program
from running_cluster import RunningCluster, command_line, gone, kill, ready_pods, until

pytestmark = [
    needs_root,
    pytest.mark.root,
    pytest.mark.skipif(
        find_program("containerd") is None or not os.path.exists("/bin/busybox"),
        reason="containerd or busybox-static is not installed",
    ),
]
REPLICAS = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    directory = tmp_path_factory.mktemp("three")
    with three_nodes(directory, tmp_path_factory.mktemp("rootfs")) as running:
        asyncio.run(prepare(running))
        yield running


async def prepare(running: RunningCluster) -> None:
    client = running.client()
    try:
        await client.create(DEPLOYMENTS, web(REPLICAS), "default")
        await make_services(client)
        await serving(client)
    finally:
        await client.close()


@pytest_asyncio.fixture
async def client(cluster: RunningCluster) -> AsyncIterator[Client]:
    made = cluster.client()
    yield made
    await made.close()


async def serving(client: Client, without: str = "") -> dict[str, Obj]:
    """Wait until the Deployment is whole, on other nodes than ``without``; its pods."""
    pods: dict[str, Obj] = {}

    async def whole() -> bool:
        pods.clear()
        pods.update(await ready_pods(client, PODS, "app=web"))
        return len(pods) == REPLICAS and without not in places(pods)

    try:
        await until(whole)
    except TimeoutError:
        found, _ = await client.list_all(PODS, "default", label_selector="app=web")
        shown = [(objects.name(pod), pod["spec"].get("nodeName"), pod["status"]) for pod in found]
        raise AssertionError(f"not {REPLICAS} pods Ready: {shown}") from None
    return pods


def places(pods: dict[str, Obj]) -> set[str]:
    return {found["spec"]["nodeName"] for found in pods.values()}


def containers(pods: dict[str, Obj]) -> dict[str, tuple[str, int]]:
    """Container and restarts of every pod."""
    statuses = {name: found["status"]["containerStatuses"][0] for name, found in pods.items()}
    return {name: (one["containerID"], one["restartCount"]) for name, one in statuses.items()}


async def node_addresses(client: Client) -> dict[str, str]:
    found, _ = await client.list_all(NODE_OBJECTS)
    return {objects.name(node): node["status"]["addresses"][0]["address"] for node in found}


async def node_is(client: Client, name: str, status: str) -> bool:
    node = await client.get(NODE_OBJECTS, name)
    return objects.condition_is(node, "Ready", status)


async def answers(client: Client, pods: dict[str, Obj]) -> None:
    """Wait until the Service answers on every living node's port, from each of these pods."""
    service = await client.get(SERVICES, "web", "default")
    port = service["spec"]["ports"][0]["nodePort"]
    names = set(pods)
    for name, address in (await node_addresses(client)).items():
        if await node_is(client, name, "True"):
            seen: set[str] = set()

            async def all_seen(
                url: str = f"http://{address}:{port}/", seen: set[str] = seen
            ) -> bool:
                seen.add(await asyncio.to_thread(fetch, url))
                return names <= seen

            await until(all_seen)


def fetch(url: str) -> str:
    """What a web server says; "" while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode().strip())
    except OSError:
        return ""


@pytest.mark.parametrize("node", NODES)
async def test_pods_reach_everything_from_every_node(client: Client, node: str) -> None:
    pods = await serving(client)
    assert places(pods) == set(NODES)
    service = await client.get(SERVICES, "web", "default")
    port = service["spec"]["ports"][0]["nodePort"]
    addresses = (await node_addresses(client)).values()
    pod_addresses = [found["status"]["podIP"] for found in pods.values()]
    script = f"""
    set -e
    for ip in {" ".join(pod_addresses)}; do echo pod $(wget -q -O - http://$ip:8080/); done
    for ip in {" ".join(addresses)}; do wget -q -O - http://$ip:{port}/ >/dev/null; echo port; done
    for i in $(seq 150); do wget -q -O - http://{service["spec"]["clusterIP"]}/; done | sort -u
    wget -q -O - http://web.default.svc.cluster.local/ >/dev/null && echo by-name
    wget -q -O - http://alias.default.svc.cluster.local/ >/dev/null && echo by-alias
    for ip in $(nslookup head.default.svc.cluster.local | grep -o '10\\.60\\.[0-9.]*'); do
      echo head $ip
    done
    """
    lines = (await output_of(client, pod(f"ask-from-{node}", node, script))).splitlines()
    assert {line for line in lines if line.startswith("pod ")} == {f"pod {name}" for name in pods}
    assert lines.count("port") == len(NODES)
    assert {line for line in lines if line.startswith("web-")} == set(pods)
    assert "by-name" in lines and "by-alias" in lines
    heads = {line.removeprefix("head ") for line in lines if line.startswith("head ")}
    assert heads == set(pod_addresses)


async def test_node_ports_answer_from_outside_on_every_node(client: Client) -> None:
    await answers(client, await serving(client))


IN_CLUSTER = """
import kubernetes, socket
kubernetes.config.load_incluster_config()
pods = kubernetes.client.CoreV1Api().list_namespaced_pod("default", label_selector="app=web")
print("sees", len(pods.items))
host = kubernetes.client.Configuration.get_default_copy().host
print("asks", host)
kubernetes.client.Configuration._default.host = "https://kubernetes.default.svc:443"
print("by name", len(kubernetes.client.CoreV1Api().list_namespaced_pod("default").items) > 0)
try:
    kubernetes.client.CoreV1Api().list_namespaced_secret("default")
except kubernetes.client.ApiException as error:
    print("secrets", error.status)
"""


async def test_the_official_client_works_in_a_pod_by_its_service_account(client: Client) -> None:
    binding = {
        "metadata": {"name": "see"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "view",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }
    await client.create(ROLE_BINDINGS, binding, "default")
    volumes, mounts = interpreter_volumes()
    container = {
        "command": [sys.executable, "-c", IN_CLUSTER],
        "args": [],
        "volumeMounts": mounts,
    }
    made = pod("in-cluster", "node-2", "", volumes=volumes, container=container)
    lines = (await output_of(client, made)).splitlines()
    expected = [f"sees {REPLICAS}", "asks https://10.61.0.1:443", "by name True", "secrets 403"]
    assert lines == expected


async def test_images_come_from_the_mirror(client: Client, tmp_path: Path) -> None:
    name = f"{MIRRORED}/deep/name:1"
    mirror = Registry(build_rootfs(tmp_path, name, ["/bin/sh", "-ec"], busybox=True))
    pulled = {"image": name, "imagePullPolicy": "Always"}
    async with mirror.serving(socket.create_server(MIRROR)):
        for node in NODES[:2]:
            made = pod(f"pulls-{node}", node, "echo well", container=pulled)
            assert "well" in await output_of(client, made)
    assert mirror.paths.count("/v2/deep/name/manifests/1") >= 2


async def test_containers_outlive_their_kubelet(cluster: RunningCluster, client: Client) -> None:
    node = nodes_of(cluster)["node-1"]
    before = containers(await serving(client))
    agent = agent_of(node)
    kill(agent)
    await replaced(lambda: agent_of(node), agent)
    assert "well" in await output_of(client, pod("after-kubelet", "node-1", "echo well"))
    assert containers(await serving(client)) == before


async def test_pods_do_not_notice_a_killed_containerd(
    cluster: RunningCluster, client: Client
) -> None:
    node = nodes_of(cluster)["node-2"]
    pods = await serving(client)
    before = containers(pods)
    containerd = containerd_of(node)
    kill(containerd)
    await replaced(lambda: containerd_of(node), containerd)
    assert "well" in await output_of(client, pod("after-containerd", "node-2", "echo well"))
    after = await serving(client)
    assert containers(after) == before
    await answers(client, after)


async def replaced(find: object, old: int) -> None:
    """Wait until another process does the work of one that was killed."""
    assert old and callable(find)

    async def other() -> bool:
        return find() not in (0, old)

    await until(other)


async def test_pods_leave_a_node_whose_kubelet_is_stopped(
    cluster: RunningCluster, client: Client
) -> None:
    node = nodes_of(cluster)["node-3"]
    left = {
        name for name, one in (await serving(client)).items() if places({name: one}) == {node.name}
    }
    agent = agent_of(node)
    os.kill(agent, signal.SIGSTOP)
    try:
        await until(lambda: node_is(client, node.name, "Unknown"))
        await answers(client, await serving(client, without=node.name))
    finally:
        os.kill(agent, signal.SIGCONT)

    async def back() -> bool:
        pods, _ = await client.list_all(PODS, "default", label_selector="app=web")
        return await node_is(client, node.name, "True") and not left & {
            objects.name(one) for one in pods
        }

    await until(back)
    assert "well" in await output_of(client, pod("after-silence", node.name, "echo well"))


async def test_up_brings_everything_back_after_a_power_failure(
    cluster: RunningCluster, client: Client
) -> None:
    pods = await serving(client)
    uids = {objects.uid(one) for one in pods.values()}
    everything = [cluster.supervisor(), *cluster.processes().values()]
    for node in nodes_of(cluster).values():
        everything += processes(node)
    for process in everything:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            assert not command_line(process)
    await gone(everything)

    await asyncio.to_thread(cluster.up)

    again = cluster.client()
    try:
        back = await serving(again)
        assert {objects.uid(one) for one in back.values()} == uids
        await answers(again, back)
        for name in NODES:
            assert "well" in await output_of(again, pod(f"after-{name}", name, "echo well"))
    finally:
        await again.close()


async def test_down_leaves_nothing_behind(cluster: RunningCluster) -> None:
    assert {"cgroups", "namespaces", "links", "tables", "mounts", "processes", "files"} <= set(
        traces(cluster.data_dir)
    )
    await asyncio.to_thread(cluster.down)
    assert traces(cluster.data_dir) == {}
